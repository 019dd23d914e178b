"""A hook that only resumes a run from a checkpoint of the same run, and makes new settings take effect."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor, nn
from torch.optim import Optimizer

from mmbeitv2.checkpoints.reading import check_exact, check_loadable, weights_of
from mmbeitv2.engine.monitoring import unwrapped
from mmbeitv2.engine.run_record import STEPS_PER_EPOCH, differences, is_below, record_of
from mmbeitv2.errors import InputError
from mmbeitv2.registry import HOOKS

# How a step is computed, not what: these options of a parameter group are always those of the machine at hand.
_EXECUTION = ('foreach', 'fused', 'capturable', 'differentiable')
# What of a scheduler's state tells how far it is, not what it does.
_PROGRESS = ('last_step', '_global_step', '_last_value')
_RECORD = 'run'


@HOOKS.register_module()
class ResumeGuardHook(Hook):
    """Checks a checkpoint before it is loaded into a run.

    When a run is resumed, model and optimizer must fit exactly, and everything that determines what is learned must be
    unchanged: the settings of the model and of the training data, the weights of a frozen tokenizer or teacher, the
    images and their labels, the seed. Other settings may change and take effect: with a changed learning rate, weight
    decay or schedule, the schedule is replayed up to the step of the checkpoint. ``load_from`` may leave weights out,
    as in mmengine, but it is an error if a weight has another shape, or if no weight is loaded.

    Args:
        allow_changes: names of settings, or their beginnings (``'model'``), that may change nevertheless.
    """

    priority = 'VERY_HIGH'

    def __init__(self, allow_changes: Sequence[str] = ()) -> None:
        self.allow_changes = tuple(allow_changes)
        self._record: dict[str, str] | None = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self._record is None:  # runs may have millions of images
            self._record = record_of(runner, unwrapped(runner))
        checkpoint['meta'][_RECORD] = dict(self._record)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        path = str(runner._load_from or 'last_checkpoint')
        model = unwrapped(runner)
        weights = weights_of(checkpoint)
        if not runner._resume:
            check_loadable(weights, model.state_dict(), path)
            checkpoint.setdefault('state_dict', weights)
            return
        check_is_of_a_run(checkpoint, path)
        check_exact(weights, model.state_dict(), path)
        for key, optimizer in _optimizers(runner):
            saved = checkpoint['optimizer'][key] if key else checkpoint['optimizer']
            check_optimizer_state(saved, optimizer, model, path)
        changes = self._compare(runner, checkpoint, path)
        _scale_steps(runner, checkpoint['meta'])
        is_replayed = _take_new_schedule(runner, checkpoint)
        if changes or is_replayed:
            replayed = 'the schedule continues as if these had been its settings from the start' if is_replayed else ''
            runner.logger.info('Resumed with changes: ' + '; '.join([*changes, replayed] if replayed else changes))

    def _compare(self, runner: Runner, checkpoint: dict, path: str) -> list[str]:
        """Describes what has changed, and refuses changes that are not allowed."""
        meta = checkpoint['meta']
        self._record = record_of(runner, unwrapped(runner))
        former = meta.get(_RECORD)
        if not isinstance(former, dict) or not str(former.get(STEPS_PER_EPOCH)).isdecimal():
            meta.pop(_RECORD, None)
            runner.logger.warning(
                f'{path} does not record its tokenizer, images and settings, so they are not compared with those '
                'of this run'
            )
            return []
        meaning, others = differences(former, self._record)
        seed = (runner.cfg.get('randomness') or {}).get('seed')
        if seed is not None and meta.get('seed') not in (None, seed):
            meaning['seed'] = f'seed was {meta["seed"]} and is {seed} now'
            meta['seed'] = seed  # mmengine would take the former
        refused = [key for key in meaning if not is_below(key, self.allow_changes)]
        if refused:
            more = f' ({len(refused) - 1} more: {", ".join(refused[1:6])})' if refused[1:] else ''
            raise InputError(
                f'{path} was written by a run with other settings: {meaning[refused[0]]}{more}. Resume with the '
                f'settings of that run; or accept the change with --allow-changes {" ".join(refused[:6])}; or start '
                f'a new run from the weights with --cfg-options load_from={path}'
            )
        return [*meaning.values(), *others.values()]


def guard_resume(runner: Runner, allow_changes: Sequence[str]) -> None:
    """Adds the hook to a runner if its config has none, and passes the allowed changes to it."""
    guard = next((hook for hook in runner.hooks if isinstance(hook, ResumeGuardHook)), None)
    if guard is None:
        guard = ResumeGuardHook()
        runner.register_hook(guard)
    guard.allow_changes += tuple(allow_changes)


def check_is_of_a_run(checkpoint: dict, path: str) -> None:
    """Refuses a checkpoint from which a run cannot be resumed.

    Raises:
        InputError: naming the part that is missing.
    """
    meta = checkpoint.get('meta')
    progress = [meta.get(key) for key in ('epoch', 'iter')] if isinstance(meta, dict) else []
    has_progress = len(progress) == 2 and all(type(number) is int and number >= 0 for number in progress)
    missing = [
        part for part, is_there in (
            ('the weights', isinstance(checkpoint.get('state_dict'), dict)),
            ('the state of the optimizer', isinstance(checkpoint.get('optimizer'), dict)),
            ('the step that the run had reached', has_progress),
            ('the log of the run', isinstance(checkpoint.get('message_hub'), dict)),
        ) if not is_there
    ]  # fmt: skip
    if missing:
        raise InputError(
            f'{path} lacks {" and ".join(missing)}; a run cannot be resumed from it. Resume from epoch_*.pth or '
            f'iter_*.pth of the run, or start a new run from these weights with --cfg-options load_from={path}.'
        )


def check_optimizer_state(saved: Any, optimizer: Optimizer, model: nn.Module, path: str) -> None:
    """Refuses the state of another optimizer, or of other parameters: fused optimizers do not check shapes.

    Raises:
        InputError: naming the first parameter whose state does not fit, and both shapes.
    """
    remedy = 'Resume with the settings of the former run, or start a new run from the weights with load_from'
    state, groups = (saved.get(key) for key in ('state', 'param_groups')) if isinstance(saved, dict) else (None, None)
    if not isinstance(state, dict) or not isinstance(groups, list):
        raise InputError(f'{path} has a damaged optimizer state. Resume from another checkpoint.')
    indices: list[Any] = [group.get('params') if isinstance(group, dict) else None for group in groups]
    if not all(isinstance(group, list) for group in indices):
        raise InputError(f'{path} has a damaged optimizer state. Resume from another checkpoint.')
    sizes = [len(group) for group in indices], [len(group['params']) for group in optimizer.param_groups]
    if sizes[0] != sizes[1]:
        raise InputError(
            f'{path} does not fit the optimizer: its state has {len(sizes[0])} groups with {sum(sizes[0])} '
            f'parameters, but this run has {len(sizes[1])} groups with {sum(sizes[1])}. {remedy}'
        )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    expected: dict[torch.Size, dict | None] = {}
    for index, parameter in zip((i for group in indices for i in group), parameters, strict=True):
        own = state.get(index)
        if own is None:  # never trained
            continue
        if parameter.shape not in expected:
            expected[parameter.shape] = _state_of(optimizer, parameter.shape)
        wanted = expected[parameter.shape]
        name = names.get(id(parameter), f'parameter {index}')
        if not isinstance(own, dict) or (wanted is not None and not wanted.keys() <= own.keys()):
            needed = f'needs {", ".join(sorted(wanted))} of {name}' if wanted else f'cannot use that of {name}'
            raise InputError(
                f'{path} has the state of another optimizer: {type(optimizer).__name__} {needed}. {remedy}'
            )
        for key, value in own.items():
            shape = getattr(wanted.get(key), 'shape', None) if wanted is not None else parameter.shape
            if isinstance(value, Tensor) and value.ndim and shape is not None and value.shape != shape:
                raise InputError(
                    f'{path} does not fit the optimizer: {key} of {name} has shape {tuple(value.shape)} in the file, '
                    f'but {tuple(shape)} in this run. {remedy}'
                )


def _state_of(optimizer: Optimizer, shape: torch.Size) -> dict | None:
    """What an optimizer keeps of a parameter of this shape, from a step of its own kind; None if that is unknown."""
    parameter = nn.Parameter(torch.zeros(shape))
    parameter.grad = torch.zeros(shape)
    accepted = inspect.signature(type(optimizer)).parameters
    try:
        probe = type(optimizer)([parameter], **{k: v for k, v in optimizer.defaults.items() if k in accepted})
        probe.step()
    except Exception:  # an optimizer that cannot be made of its defaults
        return None
    return dict(probe.state[parameter])


def _optimizers(runner: Runner) -> Iterator[tuple[str, Optimizer]]:
    """The optimizers of a run by their names; mostly one, without a name."""
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        for key, wrapper in runner.optim_wrapper.items():
            yield key, wrapper.optimizer
    else:
        yield '', runner.optim_wrapper.optimizer


def _scale_steps(runner: Runner, meta: dict) -> None:
    """With another batch size, an epoch has another number of steps: counts as if it had had it from the start."""
    former, now = (meta.get(_RECORD) or {}).get(STEPS_PER_EPOCH), len(runner.train_dataloader)
    if isinstance(runner.train_loop, EpochBasedTrainLoop) and former not in (None, str(now)):
        meta['iter'] = meta['iter'] * now // int(former)


def _take_new_schedule(runner: Runner, checkpoint: dict) -> bool:
    """Puts the settings of the run in the place of those of the checkpoint; whether they differ.

    Where they do not differ, the numbers of the checkpoint stay, to the last bit.
    """
    optimizers = list(_optimizers(runner))
    schedulers = runner.param_schedulers or []
    saved_schedulers = checkpoint.get('param_schedulers') or []
    if len(optimizers) != 1 or not isinstance(schedulers, list):  # several optimizers: as mmengine does
        return False
    groups, saved_groups = optimizers[0][1].param_groups, checkpoint['optimizer']['param_groups']
    for group, saved in zip(groups, saved_groups, strict=True):
        saved.update({key: group[key] for key in _EXECUTION if key in group})
    scheduled = {scheduler.param_name for scheduler in schedulers}
    is_same = len(schedulers) == len(saved_schedulers) and all(
        _settings(group, ('params', *scheduled)) == _settings(saved, ('params', *scheduled))
        and all(type(saved.get(name)) is type(group.get(name)) for name in scheduled)
        for group, saved in zip(groups, saved_groups, strict=True)
    )
    is_same = is_same and all(
        _settings(scheduler.state_dict(), _PROGRESS) == _settings(saved, _PROGRESS)
        for scheduler, saved in zip(schedulers, saved_schedulers, strict=True)
    )
    depends_on_scores = any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers)
    if is_same or depends_on_scores:
        return False
    _replay(runner, schedulers, checkpoint['meta'])
    for group, saved in zip(groups, saved_groups, strict=True):
        saved.update(_settings(group, ('params',)))
    base = runner.optim_wrapper.state_dict().get('base_param_settings')  # which mmengine's log shows as base_lr
    if base is not None:
        checkpoint['optimizer']['base_param_settings'] = base
    checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in schedulers]
    return True


def _settings(state: dict, without: Sequence[str]) -> dict:
    return {key: value for key, value in state.items() if key not in without}


def _replay(runner: Runner, schedulers: list, meta: dict) -> None:
    """Runs the schedule up to the step of the checkpoint."""
    by_step = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    epochs = meta['epoch'] if isinstance(runner.train_loop, EpochBasedTrainLoop) else 0
    steps_per_epoch = len(runner.train_dataloader)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that no step of the optimizer came before
        for step in range(1, meta['iter'] + 1):
            for scheduler in by_step:
                scheduler.step()
            if epochs and step % steps_per_epoch == 0:
                for scheduler in by_epoch:
                    scheduler.step()
