"""A hook that only resumes a run from a checkpoint of the same run, and makes new settings take effect.

The weights alone do not show whether a run still learns the same task: another tokenizer, other images or another
augmentation would load without an error and silently spoil the result. Checkpoints therefore hold a record of them.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from mmbeitv2.backbones.lora import frozen_fingerprints
from mmbeitv2.checkpoints.reading import check_exact, check_loadable, named_as_in, require_sound, weights_of
from mmbeitv2.engine.monitoring import unwrapped
from mmbeitv2.errors import InputError
from mmbeitv2.inference.config import walk_settings
from mmbeitv2.layers.frozen import Frozen, fingerprint
from mmbeitv2.registry import HOOKS

# Settings of the config that decide what is learned.
_MEANING = (
    *('model', 'data_preprocessor', 'train_dataloader.dataset', 'train_dataloader.sampler'),
    'optim_wrapper.optimizer.type',
)
# Settings of which a change is only reported. The rest, such as paths, variables of the file, the log, is ignored.
_SETTINGS = (
    *('optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader', 'auto_scale_lr', 'default_hooks'),
    *('custom_hooks', 'model_wrapper_cfg', 'strategy', 'env_cfg', 'val_dataloader', 'val_evaluator', 'val_cfg'),
)
# Settings below those of _MEANING that decide how something is read or computed, not what comes out.
_EXECUTION = {
    *('with_cp', 'backend_args', 'file_client_args', 'serialize_data', 'lazy_init', 'max_refetch', 'max_unreadable'),
    'max_pixels',
}
# Where things lie and how a run started: what they hold is compared itself.
_PLACES = {'init_cfg', 'pretrained', 'data_root', 'data_prefix', 'ann_file'}
_STEPS_PER_EPOCH = 'train_dataloader.steps_per_epoch'
# What of a scheduler's state tells how far it is, not what it does.
_PROGRESS = ('last_step', '_global_step', '_last_value')


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
            self._record = record_of(runner)
        checkpoint['meta']['run'] = dict(self._record)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        path = str(runner.cfg.get('load_from') or 'last_checkpoint')
        model = unwrapped(runner)
        weights = named_as_in(model, weights_of(checkpoint))
        require_sound(weights, [name for name, _ in model.named_parameters() if name in weights], path)
        if not runner.cfg.get('resume'):
            check_loadable(weights, model.state_dict(), path)
            checkpoint.setdefault('state_dict', weights)
            return
        missing = [part for part in ('optimizer', 'message_hub', 'meta') if not isinstance(checkpoint.get(part), dict)]
        if missing:
            raise InputError(
                f'{path} lacks {" and ".join(missing)}; a run cannot be resumed from it. Start a new run from these '
                f'weights with --cfg-options load_from={path}.'
            )
        check_exact(weights, model.state_dict(), path)
        meta = checkpoint['meta']
        meta.pop('config', None)  # mmengine would run its text
        changes = self._compare(runner, meta, path)
        former, now = (meta.get('run') or {}).get(_STEPS_PER_EPOCH), len(runner.train_dataloader)
        if isinstance(runner.train_loop, EpochBasedTrainLoop) and former not in (None, str(now)):
            meta['iter'] = meta['iter'] * now // int(former)  # as if the batch size had been this one from the start
        # Several optimizers by their names keep their settings.
        if isinstance(runner.optim_wrapper, OptimWrapper) and _take_new_schedule(runner, checkpoint):
            changes.append('the schedule continues as if these had been its settings from the start')
        if changes:
            runner.logger.info('Resumed with changes: ' + '; '.join(changes))
        if meta['iter'] >= runner.train_loop.max_iters:
            runner.logger.info(f'The run has ended before: {path} is of its last step, {meta["iter"]}')

    def _compare(self, runner: Runner, meta: dict, path: str) -> list[str]:
        """Describes what has changed, and refuses changes that are not allowed."""
        self._record, former = record_of(runner), meta.get('run')
        if former is None:
            runner.logger.warning(f'{path} does not record its tokenizer, images and settings, so they may differ')
            return []
        changes = differences(former, self._record)
        seed = (runner.cfg.get('randomness') or {}).get('seed')
        if seed is not None and meta.get('seed') not in (None, seed):
            changes['seed'] = f'seed was {meta["seed"]} and is {seed} now'
            meta['seed'] = seed  # mmengine would take the former
        refused = [key for key in changes if changes_meaning(key) and not _is_below(key, self.allow_changes)]
        if refused:
            raise InputError(
                f'{path} was written by a run with other settings: {changes[refused[0]]}. Resume with the '
                f'settings of that run; or accept the change with --allow-changes {" ".join(refused[:6])}; or start '
                f'a new run from the weights with --cfg-options load_from={path}'
            )
        return list(changes.values())


def guard_resume(runner: Runner, allow_changes: Sequence[str]) -> None:
    """Adds the hook to a runner if its config has none, and passes the allowed changes to it."""
    guard = next((hook for hook in runner.hooks if isinstance(hook, ResumeGuardHook)), None)
    if guard is None:
        guard = ResumeGuardHook()
        runner.register_hook(guard)
    guard.allow_changes += tuple(allow_changes)


def _take_new_schedule(runner: Runner, checkpoint: dict) -> bool:
    """Puts the settings of the run in the place of those of the checkpoint; whether they differ.

    Where they do not differ, the numbers of the checkpoint stay, to the last bit.
    """
    schedulers, saved_schedulers = runner.param_schedulers or [], checkpoint.get('param_schedulers') or []
    groups, saved_groups = runner.optim_wrapper.optimizer.param_groups, checkpoint['optimizer']['param_groups']
    changing = {'params', 'names', *(scheduler.param_name for scheduler in schedulers)}

    def settings_in(of_groups: list[dict], of_schedulers: list[dict]) -> list[dict]:
        return [
            *(_without(group, *changing) for group in of_groups),
            *(_without(state, *_PROGRESS) for state in of_schedulers),
        ]

    now = settings_in(groups, [scheduler.state_dict() for scheduler in schedulers])
    regrouped = _regroup(saved_groups, groups)
    if regrouped is not None:
        saved_groups[:] = regrouped
    elif now == settings_in(saved_groups, saved_schedulers):
        return False
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers):
        return False
    epoch = len(runner.train_dataloader) if isinstance(runner.train_loop, EpochBasedTrainLoop) else None
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that no step of the optimizer came before
        for step in range(1, checkpoint['meta']['iter'] + 1):
            for scheduler in sorted(schedulers, key=lambda scheduler: scheduler.by_epoch):
                if not scheduler.by_epoch or (epoch and step % epoch == 0):
                    scheduler.step()
    for group, saved in zip(groups, saved_groups, strict=True):
        saved.update(_without(group, 'params'))
    checkpoint['optimizer'].pop('base_param_settings', None)  # which mmengine's log shows as base_lr
    checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in schedulers]
    return True


def _regroup(saved: list[dict], groups: list[dict]) -> list[dict] | None:
    """The groups of the run, in which each parameter has its number in the checkpoint; None if they are the same.

    Raises:
        InputError: if the checkpoint does not tell the names of the parameters, and other groups cannot be told apart.
    """
    sizes = [[len(group['params']) for group in each] for each in (saved, groups)]
    names = [[name for group in each for name in group.get('names', ())] for each in (saved, groups)]
    if sizes[0] == sizes[1] and names[0] in ([], names[1]):  # none before version 2
        return None
    if not names[0] or set(names[0]) != set(names[1]):
        raise InputError(
            f'the optimizer of the checkpoint has groups of {sizes[0]} parameters, and that of the run of {sizes[1]}. '
            'Resume with the optim_wrapper.paramwise_cfg and weight_decay of that run.'
        )
    numbers = {name: number for group in saved for name, number in zip(group['names'], group['params'], strict=True)}
    return [{**group, 'params': [numbers[name] for name in group['names']]} for group in groups]


def _without(state: dict, *keys: str) -> dict:
    return {key: value for key, value in state.items() if key not in keys}


def record_of(runner: Runner) -> dict[str, str]:
    """What identifies a run: its settings that matter, frozen weights and data; the same in each process."""
    loader = runner.train_dataloader
    return {
        **settings_of(runner.cfg),
        **fingerprints(unwrapped(runner)),
        'dataset': describe_dataset(loader.dataset),
        _STEPS_PER_EPOCH: str(len(loader)),
    }


def settings_of(cfg: Config) -> dict[str, str]:
    """The settings of a config that matter, each by its dotted key, for example ``model.head.num_codes``."""
    return {
        key: repr(value)
        for key, value in walk_settings(cfg.to_dict())
        if not (isinstance(value, (dict, list, tuple)) and value)  # whose own settings follow
        and not _PLACES & set(key.split('.'))
        and _is_below(key, (*_MEANING, *_SETTINGS))
    }


def _is_below(key: str, names: Iterable[str]) -> bool:
    """Whether a setting is one of those named, or a part of one."""
    return any(key == name or key.startswith(f'{name}.') for name in names)


def fingerprints(model: nn.Module) -> dict[str, str]:
    """A hash of the weights of each frozen part (the tokenizer, a teacher, what is under LoRA) by its name."""
    parts = {name: module.module for name, module in model.named_modules() if isinstance(module, Frozen)}
    return {name: f'weights {fingerprint(part)}' for name, part in parts.items()} | frozen_fingerprints(model)


def describe_dataset(dataset: Any) -> str:
    """Number of images, and a hash of their paths below their common folder, and of their labels or the paths of their
    label images from that folder."""
    count = len(dataset)
    if not count or not hasattr(dataset, 'get_data_info'):
        return f'{count} samples'

    def paths() -> Iterator[str]:
        return (str(dataset.get_data_info(index).get('img_path') or '') for index in range(count))

    common = os.path.commonprefix((min(paths()), max(paths())))  # noqa: RUF071 (commonpath refuses some pairs)
    folder = common[: common.rfind('/') + 1]
    digest = hashlib.sha256()
    for index, path in enumerate(paths()):
        info = dataset.get_data_info(index)
        text = f'{path.removeprefix(folder)}\0{info.get("gt_label")}\0'
        if (label_image := info.get('seg_map_path')) is not None:
            text += f'{os.path.relpath(label_image, folder)}\0'
        digest.update(text.encode(errors='surrogateescape'))
    return f'{count} images, names and labels {digest.hexdigest()[:16]}'


def differences(former: dict[str, str], now: dict[str, str]) -> dict[str, str]:
    """Descriptions of the changes by name."""
    return {
        key: f'{key} was {former.get(key, "not set")} and is {now.get(key, "not set")} now'
        for key in sorted({*former, *now})
        if former.get(key) != now.get(key)
    }


def changes_meaning(key: str) -> bool:
    """Whether a change of what a record has under this name makes the run another one."""
    is_setting = _is_below(key, _SETTINGS) and not _is_below(key, _MEANING)
    return not is_setting and not _EXECUTION & set(key.split('.'))
