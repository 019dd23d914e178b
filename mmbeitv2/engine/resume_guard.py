"""A hook that only resumes a run from a checkpoint of the same run, and makes new settings take effect."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.optim import Optimizer

from mmbeitv2.checkpoints.reading import check_exact, check_loadable, weights_of
from mmbeitv2.engine.monitoring import unwrapped
from mmbeitv2.engine.run_record import STEPS_PER_EPOCH, differences, is_below, record_of
from mmbeitv2.errors import InputError
from mmbeitv2.registry import HOOKS

# How a step is computed, not what: these options of a parameter group are always those of the machine at hand.
_EXECUTION = ('foreach', 'fused', 'capturable', 'differentiable')
# What optimizers keep for each element of a parameter.
_PER_ELEMENT = (
    *('exp_avg', 'exp_avg_sq', 'max_exp_avg_sq', 'momentum_buffer', 'square_avg', 'grad_avg', 'acc_delta', 'exp_inf'),
    *('sum', 'prev'),
)
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
        checkpoint['meta'].pop('config', None)  # mmengine would run its text
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
        if former is None:
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
    parts = dict(state_dict='the weights', optimizer='the state of the optimizer', message_hub='the log of the run')
    missing = [words for key, words in parts.items() if not isinstance(checkpoint.get(key), dict)]
    if not {'epoch', 'iter'} <= set(checkpoint.get('meta') or ()):
        missing.append('the step that the run had reached')
    if missing:
        raise InputError(
            f'{path} lacks {" and ".join(missing)}; a run cannot be resumed from it. Resume from epoch_*.pth or '
            f'iter_*.pth of the run, or start a new run from these weights with --cfg-options load_from={path}.'
        )


def check_optimizer_state(saved: dict, optimizer: Optimizer, model: nn.Module, path: str) -> None:
    """Refuses the state of other parameters: fused optimizers do not check shapes, and would write beyond them.

    Raises:
        InputError: naming the first parameter whose state does not fit, and both shapes.
    """
    remedy = 'Resume with the settings of the former run, or start a new run from the weights with load_from'
    former, now = (
        [len(group['params']) for group in state['param_groups']] for state in (saved, optimizer.state_dict())
    )
    if former != now:
        raise InputError(
            f'{path} does not fit the optimizer: its state has {len(former)} groups with {sum(former)} parameters, '
            f'but this run has {len(now)} groups with {sum(now)}. {remedy}'
        )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    indices = (index for group in saved['param_groups'] for index in group['params'])
    for index, parameter in zip(indices, (p for group in optimizer.param_groups for p in group['params']), strict=True):
        for key, value in saved['state'].get(index, {}).items():
            if key in _PER_ELEMENT and value is not None and value.shape != parameter.shape:
                raise InputError(
                    f'{path} does not fit the optimizer: {key} of {names.get(id(parameter), index)} has shape '
                    f'{tuple(value.shape)} in the file, but {tuple(parameter.shape)} in this run. {remedy}'
                )


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
    if is_same or any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers):
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
