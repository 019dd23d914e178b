"""A record of what identifies a run. It is written into checkpoints and compared when the run is resumed.

The weights alone do not show whether a run still learns the same task. Another tokenizer, other images or another
augmentation would load without an error and silently spoil the result.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator

from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmbeitv2.layers.frozen import Frozen, fingerprint

Record = dict[str, str]
STEPS_PER_EPOCH = 'train_dataloader.steps_per_epoch'

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
_EXECUTION = (
    *('with_cp', 'backend_args', 'file_client_args', 'serialize_data', 'lazy_init', 'max_refetch', 'max_unreadable'),
    'max_pixels',
)
# Where things lie and how a run started: what they hold is compared itself, see :func:`fingerprint`.
_PLACES = ('init_cfg', 'pretrained', 'data_root', 'data_prefix', 'ann_file')


def record_of(runner: Runner, model: nn.Module) -> Record:
    """The record of a run: text by name, the same in each process."""
    loader = runner.train_dataloader
    return {
        **settings_of(runner.cfg),
        **fingerprints(model),
        'dataset': describe_dataset(loader.dataset),
        STEPS_PER_EPOCH: str(len(loader)),
    }


def settings_of(cfg: Config) -> Record:
    """The settings of a config that matter, each by its dotted key, for example ``model.head.num_codes``."""
    settings = {'.'.join(path): value for path, value in _flatten(cfg.to_dict(), ()) if not set(path) & set(_PLACES)}
    return {key: value for key, value in settings.items() if is_below(key, (*_MEANING, *_SETTINGS))}


def is_below(key: str, names: Iterable[str]) -> bool:
    """Whether a setting is one of those named, or a part of one."""
    return any(key == name or key.startswith(f'{name}.') for name in names)


def _flatten(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, tuple):
        value = list(value)  # which the command line gives for a tuple
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, (dict, list)) or not value:
        text = repr(value)
        yield path, "'local-dir:...'" if text.startswith("'local-dir:") else text
    for key, child in children:
        yield from _flatten(child, (*path, str(key)))


def fingerprints(model: nn.Module) -> Record:
    """A hash of the weights of each frozen part (the tokenizer, a teacher) by its name."""
    return {
        name: f'weights {fingerprint(module.module)}'
        for name, module in model.named_modules()
        if isinstance(module, Frozen)
    }


def describe_dataset(dataset: object) -> str:
    """Number of images, and a hash of their paths below their common folder and of their labels."""
    count = len(dataset)  # type: ignore[arg-type]
    if not count or not hasattr(dataset, 'get_data_info'):
        return f'{count} samples'
    common = _common_folder(_path_of(dataset.get_data_info(0)), _path_of(dataset.get_data_info(count - 1)))
    while True:
        digest = hashlib.sha256()
        for i in range(count):
            info = dataset.get_data_info(i)
            path = _path_of(info)
            if not path.startswith(common):  # the list is not sorted: begins again, mostly early
                common = _common_folder(common, path)
                break
            line = f'{path.removeprefix(common)}\0{info.get("gt_label")}\0'
            digest.update(line.encode(errors='surrogateescape'))
        else:
            return f'{count} images, names and labels {digest.hexdigest()[:16]}'


def _path_of(info: dict) -> str:
    return str(info.get('img_path') or '')


def _common_folder(*paths: str) -> str:
    """With a slash at its end; empty if there is none."""
    prefix = os.path.commonprefix(paths)  # noqa: RUF071 (commonpath refuses relative beside absolute paths)
    return prefix[: prefix.rfind('/') + 1]


def differences(former: Record, now: Record) -> tuple[Record, Record]:
    """Descriptions of the changes by name: those that change the meaning of the run, and other settings."""
    meaning: Record = {}
    others: Record = {}
    for key in sorted({*former, *now}):
        if former.get(key) == now.get(key):
            continue
        change = f'{key} was {former.get(key, "not set")} and is {now.get(key, "not set")} now'
        is_setting = is_below(key, _SETTINGS) and not is_below(key, _MEANING)
        is_setting = is_setting or not set(key.split('.')).isdisjoint(_EXECUTION)
        (others if is_setting else meaning)[key] = change
    return meaning, others
