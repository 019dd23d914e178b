"""Checks that run before the first step: what a user gives (data, labels, checkpoints, disk) in seconds.

Everything that a run needs is built, which mmengine would only do later. ``--check`` also reads one batch of each
loader and every label, and prints what would run.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, FlexibleRunner, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmbeitv2.datasets.seeding import generators_kept
from mmbeitv2.engine import guard_resume, unwrapped
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.locking import hold_folder
from mmbeitv2.fileio.outputs import require_writable_folder
from mmbeitv2.inference.config import walk_settings
from mmbeitv2_tools.data_checks import (
    MAX_LABELS,
    check_labels,
    check_length,
    check_num_classes,
    check_same_classes,
    classes_of,
)
from mmbeitv2_tools.launch import build_runner, is_first_process

AnyRunner: TypeAlias = Runner | FlexibleRunner


def checked_runner(
    cfg: Config, is_training: bool, is_rehearsal: bool = False, allow_changes: Sequence[str] = ()
) -> AnyRunner:
    """A runner whose data, labels, classes and disk have been checked.

    A training run then holds the lock of its work dir, see :func:`mmbeitv2.fileio.locking.hold_folder`. Its loaders are
    built already, so that a large dataset is listed only once. The random generators are in the same state as without
    the checks.

    Args:
        cfg: of the run.
        is_training: whether it will train, or be scored.
        is_rehearsal: for ``--check``: the runner writes into a temporary folder, logs warnings only, reads one batch
            of each loader and every label, and a training run has loaded its weights, optimizer and resumed state.
        allow_changes: see :class:`mmbeitv2.engine.ResumeGuardHook`.

    Raises:
        InputError: for the first mistake.
    """
    require_writable_folder(cfg.work_dir, 'work dir')
    if is_training and not is_rehearsal and is_first_process(cfg):
        hold_folder(cfg.work_dir)  # before the runner makes a folder for its log
    runner = _rehearsing_runner(cfg) if is_rehearsal else build_runner(cfg)
    model: Any = unwrapped(runner)
    with generators_kept():
        loaders = _loaders(runner, is_training)
        first, *others = loaders
        check_num_classes(first, loaders[first].dataset, cfg)
        for key in others:
            check_same_classes(key, loaders[key].dataset, loaders[first].dataset)
        for key, loader in loaders.items():
            check_length(key, loader)
        if is_main_process():
            for key, loader in loaders.items():
                odd = check_labels(key, loader.dataset, model, None if is_rehearsal else MAX_LABELS)
                if odd and is_rehearsal:
                    runner.logger.warning(f'{key}: {odd}')
            if is_training:
                _check_space(model, cfg.work_dir)
        if is_rehearsal:
            for key, loader in loaders.items():
                model.data_preprocessor(_first_batch(loader), key == 'train_dataloader')
    if is_training:
        guard_resume(runner, allow_changes)
    if is_training and is_rehearsal:
        runner.register_hook(_StopHook(), priority='LOWEST')
        with suppress(_FirstStep):
            runner.train()
    return runner


class _FirstStep(Exception):
    """Raised when the run reaches its first step."""


class _StopHook(Hook):
    """Ends a rehearsal at the first step."""

    def before_train(self, runner: Runner) -> None:
        raise _FirstStep


def _rehearsing_runner(cfg: Config) -> AnyRunner:
    """A runner whose temporary folder is removed afterwards."""
    folder = tempfile.TemporaryDirectory()
    copied = copy.deepcopy(cfg)
    copied.work_dir, copied.log_level = folder.name, 'WARNING'
    copied.experiment_name = Path(folder.name).name  # mmengine keeps loggers by it
    if isinstance(copied.get('visualizer'), dict):  # others than mmengine's own may write elsewhere, or to a server
        copied.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    runner = build_runner(copied)
    weakref.finalize(runner, folder.cleanup)
    return runner


def _loaders(runner: AnyRunner, is_training: bool) -> dict[str, DataLoader]:
    """The runner's own loaders, which it keeps, by their keys in the config."""
    stages = ('train', 'val') if is_training else ('test',)
    loaders = {f'{stage}_dataloader': getattr(getattr(runner, f'{stage}_loop'), 'dataloader', None) for stage in stages}
    return {key: loader for key, loader in loaders.items() if isinstance(loader, DataLoader)}


def _first_batch(loader: DataLoader) -> Any:
    """Read in this process, so that an error is as it was raised."""
    if loader.batch_sampler is None or loader.collate_fn is None or not hasattr(loader.dataset, '__getitem__'):
        return next(iter(loader))
    return loader.collate_fn([loader.dataset[index] for index in next(iter(loader.batch_sampler))])


def _check_space(model: nn.Module, work_dir: str) -> None:
    needed, free = 2 * _checkpoint_bytes(model), _free_bytes(work_dir)
    if free < needed:
        raise InputError(
            f'{work_dir!r} has {free / 1e9:.3g} GB free, but two checkpoints need {needed / 1e9:.3g} GB (a new one is '
            'written completely before the last one is removed). Free some space, or choose another --work-dir.'
        )


def _checkpoint_bytes(model: nn.Module) -> int:
    """Size of a checkpoint: the model's state, and for each trained parameter two moments in float32."""
    state = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return state + 2 * 4 * sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _free_bytes(folder: str) -> int:
    """Space that is free where a folder is, or will be made."""
    path = Path(folder).absolute()
    return shutil.disk_usage(next(each for each in (path, *path.parents) if each.exists())).free


def describe_run(runner: AnyRunner, cfg: Config, is_training: bool, checkpoint: str | None) -> str:
    """What runs: on what, from which weights, how long, and where it writes; a line each.

    Args:
        runner: of :func:`checked_runner`.
        cfg: of the run.
        is_training: whether it trains, or is scored.
        checkpoint: from which it continues, or which is scored.
    """
    model = unwrapped(runner)
    total = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    lines = {
        'config': cfg.filename,
        'model': f'{type(model).__name__}, {total:,} parameters, {trained:,} of them trained',
    }
    loaders = _loaders(runner, is_training)
    for key, loader in loaders.items():
        count = f'{len(loader.dataset):,}' if hasattr(loader.dataset, '__len__') else 'a stream'
        classes = classes_of(loader.dataset)
        lines[key.replace('_dataloader', ' images')] = count + (f' in {len(classes)} classes' if classes else '')
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'
    lines['device'] = f'{device}, {get_world_size()} process(es)'
    lines['writes to'] = f'{cfg.work_dir}, {_free_bytes(cfg.work_dir) / 1e9:.3g} GB free'
    if is_training:
        loop, loader = runner.train_loop, loaders['train_dataloader']
        is_by_epoch = isinstance(loop, EpochBasedTrainLoop)
        epochs = f'{loop.max_epochs} epochs of {len(loader)} steps, ' if is_by_epoch else ''
        lines['length'] = f'{epochs}{loop.max_iters:,} steps'
        size = loader.batch_size or 0
        lines['batch size'] = f'{size} images per process, {size * get_world_size()} in total'
        lines['learning rate'] = f'{cfg.optim_wrapper.get("optimizer", {}).get("lr", "of the optimizer")} at its peak'
        lines['writes to'] += f', of which a checkpoint takes {_checkpoint_bytes(model) / 1e9:.3g} GB at most'
        checkpoint = checkpoint or ('the last checkpoint of the work dir' if cfg.get('resume') else None)
    files = [value for key, value in walk_settings(cfg.model) if key.endswith('init_cfg.checkpoint') and value]
    lines['starts from'] = checkpoint or ', '.join([*map(str, files), f'{"otherwise " * bool(files)}random weights'])
    return ''.join(f'{name:<14}{value}\n' for name, value in lines.items())
