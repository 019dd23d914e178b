"""Builds everything that a run needs before its first step, and describes the run."""

from __future__ import annotations

import copy
import inspect
import logging
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS
from mmengine.runner import FlexibleRunner, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmbeitv2.datasets.seeding import generators_kept
from mmbeitv2.engine import unwrapped
from mmbeitv2.errors import InputError, doing
from mmbeitv2.fileio.locking import hold_folder
from mmbeitv2.inference.config import nearest, walk_settings
from mmbeitv2_tools.errors.components import Component
from mmbeitv2_tools.errors.sentences import report_of
from mmbeitv2_tools.launch import build_runner, is_first_process
from mmbeitv2_tools.preflight.data import check_labels, check_loader, check_same_classes, classes_of, no_image
from mmbeitv2_tools.preflight.settings import check_settings


def checked_runner(cfg: Config, is_training: bool, is_rehearsal: bool = False) -> Runner | FlexibleRunner:
    """A runner whose config, data, hooks, optimizer and disk have been checked.

    A training run then holds the lock of its work dir, see :func:`mmbeitv2.fileio.locking.hold_folder`.

    Its loaders are built already, so that a large dataset is listed only once. The random generators are in the same
    state as without the checks.

    Args:
        cfg: of the run.
        is_training: whether it will train, or be scored.
        is_rehearsal: whether the runner only serves to check the config: it then writes into a temporary folder and
            only logs warnings.

    Raises:
        InputError: for the first mistake; an error of a library is reported with the part of the config that was being
            built.
    """
    check_settings(cfg, is_training)
    if is_training and not is_rehearsal and is_first_process(cfg.launcher):
        hold_folder(cfg.work_dir)  # before the runner makes a folder for its log
    with _building('model', cfg):
        runner = _rehearsing_runner(cfg) if is_rehearsal else build_runner(cfg)
    with generators_kept():
        loaders = _loaders(runner, cfg, is_training)
        for stage, loader in loaders.items():
            check_loader(f'{stage}_dataloader', loader, unwrapped(runner))
            if is_training:
                check_same_classes(f'{stage}_dataloader', loader.dataset, loaders['train'].dataset)
            if is_main_process():
                check_labels(f'{stage}_dataloader', loader.dataset, unwrapped(runner))
        if is_training:
            _check_checkpoint_hook(runner, cfg)
            _check_optimizer(runner, cfg)
            if is_main_process():
                _check_space(unwrapped(runner), cfg.work_dir)
                _warn_of_test_loader(runner, cfg, loaders)
    return runner


def show_plan(runner: Runner | FlexibleRunner, cfg: Config, is_training: bool, checkpoint: str | None) -> None:
    """Runs up to the first step, when the weights, the optimizer and a resumed state are loaded, and prints what would
    run.

    Args:
        runner: of :func:`checked_runner`, as a rehearsal.
        cfg: of the run.
        is_training: whether it would train, or be scored.
        checkpoint: from which it would continue, or which would be scored.

    Raises:
        InputError: if a checkpoint cannot be read or does not fit.
    """
    if is_training:
        runner.register_hook(_StopHook(), priority='LOWEST')
        with suppress(_FirstStep):
            runner.train()
    if is_main_process():
        sys.stdout.write(_summary(runner, cfg, _loaders(runner, cfg, is_training), is_training, checkpoint))


class _FirstStep(Exception):
    """Raised when the run reaches its first step."""


class _StopHook(Hook):
    """Ends a rehearsal at the first step."""

    def before_train(self, runner: Runner) -> None:
        raise _FirstStep


def _rehearsing_runner(cfg: Config) -> Runner | FlexibleRunner:
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


@contextmanager
def _building(section: str, cfg: Config) -> Iterator[None]:
    """Adds to whatever is raised which part of the config was being built: its dotted key, as near as can be told."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if 'need at least one array to concatenate' in str(error):  # mmengine, of an empty list of samples
            raise InputError(no_image(section, cfg[section].dataset)) from error
        component = Component.of(error)
        key = _key_of(component, section, cfg)
        if isinstance(error, OSError) and error.filename is not None:
            raise InputError(
                f'{key} in {cfg.filename!r} needs {str(error.filename)!r}, which cannot be read ({error.strerror}). '
                'Correct the path or its permissions.'
            ) from error
        mistake = component.mistake(error, str(error.args[0] if error.args else '')) if component else None
        if mistake is not None:
            raise InputError(f'{key} in {cfg.filename!r}: {mistake}') from error
        with doing(f'building {key} from {cfg.filename!r}'):
            raise


def _loaders(runner: Runner | FlexibleRunner, cfg: Config, is_training: bool) -> dict[str, DataLoader]:
    """The runner's own loaders, which it keeps."""
    if not is_training:
        with _building('test_dataloader', cfg):
            return {'test': runner.test_loop.dataloader}
    with _building('train_dataloader', cfg):
        loaders = {'train': runner.train_loop.dataloader}
    if cfg.get('val_dataloader') is not None:
        with _building('val_dataloader', cfg):
            loaders['val'] = runner.val_loop.dataloader
    return {stage: loader for stage, loader in loaders.items() if isinstance(loader, DataLoader)}


def _warn_of_test_loader(runner: Runner | FlexibleRunner, cfg: Config, loaders: dict[str, DataLoader]) -> None:
    """Checks the test set, which training does not need: a mistake there is only a warning."""
    settings = cfg.get('test_dataloader')
    if settings is None or settings == cfg.get('val_dataloader'):
        return
    try:
        with _building('test_dataloader', cfg):
            loader = runner.build_dataloader(settings, seed=0)
        check_loader('test_dataloader', loader, unwrapped(runner))
        check_same_classes('test_dataloader', loader.dataset, loaders['train'].dataset)
        check_labels('test_dataloader', loader.dataset, unwrapped(runner))
        with _building('test_evaluator', cfg):
            runner.build_evaluator(copy.deepcopy(cfg.test_evaluator))
    except Exception as error:  # whatever the test set has; the run can do without
        runner.logger.warning(f'tools/test.py will not work with this config: {report_of(error).sentence}')


def _check_checkpoint_hook(runner: Runner | FlexibleRunner, cfg: Config) -> None:
    """mmengine hands settings that a checkpoint hook does not know to the writing of the first checkpoint."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            known = {
                name
                for taker in (*type(hook).__mro__[:-1], runner.save_checkpoint)
                for name in inspect.signature(taker).parameters
            }
            for name in hook.args:
                if name not in inspect.signature(runner.save_checkpoint).parameters:
                    raise InputError(
                        f'default_hooks.checkpoint in {cfg.filename!r} has no setting {name!r}. '
                        f'{nearest(name, frozenset(known - {"self", "kwargs"}))}'
                    )


def _check_optimizer(runner: Runner | FlexibleRunner, cfg: Config) -> None:
    """Builds optimizer and schedules once for the check; the runner builds its own when it starts."""
    settings = cfg.optim_wrapper
    kind = settings.get('optimizer', {}).get('type')
    with OPTIMIZERS.switch_scope_and_registry(None) as registry:  # that of the config's library
        if isinstance(kind, str) and registry.get(kind) is None:  # mmengine takes it for a class
            raise InputError(
                f'optim_wrapper.optimizer.type is {kind!r} in {cfg.filename!r}, but no such optimizer exists. '
                f'{nearest(kind, frozenset(registry.module_dict) | frozenset(OPTIMIZERS.module_dict))}'
            )
    with _building('optim_wrapper', cfg), _silent(runner.logger):
        if isinstance(runner, FlexibleRunner):
            wrapper: Any = runner.strategy.build_optim_wrapper(copy.deepcopy(settings), runner.model)
        else:
            wrapper = runner.build_optim_wrapper(copy.deepcopy(settings))
    if isinstance(wrapper, OptimWrapper) and wrapper.clip_grad_kwargs:
        known = set(inspect.signature(wrapper.clip_func).parameters) - {'parameters'}
        for name in wrapper.clip_grad_kwargs:
            if name not in known:
                raise InputError(
                    f'optim_wrapper.clip_grad in {cfg.filename!r} has no setting {name!r}. '
                    f'{nearest(name, frozenset(known))}'
                )
    if isinstance(runner, FlexibleRunner) or cfg.get('param_scheduler') is None:
        return
    former, runner.optim_wrapper = runner.optim_wrapper, wrapper
    try:
        with _building('param_scheduler', cfg):
            runner.build_param_scheduler(copy.deepcopy(cfg.param_scheduler))
    finally:
        runner.optim_wrapper = former


def _check_space(model: nn.Module, work_dir: str) -> None:
    needed, free = 2 * checkpoint_bytes(model), free_bytes(work_dir)
    if free < needed:
        raise InputError(
            f'{work_dir!r} has {_size(free)} free, but two checkpoints need {_size(needed)} (a new one is written '
            'completely before the last one is removed). Free some space, or choose another --work-dir.'
        )


def checkpoint_bytes(model: nn.Module) -> int:
    """Size of a checkpoint: the model's state, and for each trained parameter two moments in float32."""
    state = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return state + 2 * 4 * sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def free_bytes(folder: str) -> int:
    """Space that is free where a folder is, or will be made."""
    existing = Path(folder).absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def _summary(
    runner: Runner | FlexibleRunner,
    cfg: Config,
    loaders: dict[str, DataLoader],
    is_training: bool,
    checkpoint: str | None,
) -> str:
    model = unwrapped(runner)
    total, trained = (
        sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or not only_trained)
        for only_trained in (False, True)
    )
    lines = {
        'config': cfg.filename,
        'model': f'{type(model).__name__}, {total:,} parameters, {trained:,} of them trained',
    }
    for stage, loader in loaders.items():
        lines[f'{stage} images'] = _images(loader)
    lines['processes'] = str(get_world_size())
    lines['device'] = torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'
    if is_training:
        loop = runner.train_loop
        epochs = f'{loop.max_epochs} epochs of {len(loaders["train"])} steps, ' if cfg.train_cfg.get('by_epoch') else ''
        lines['length'] = f'{epochs}{loop.max_iters:,} steps'
        size = loaders['train'].batch_size
        lines['batch size'] = f'{size} images per process, {(size or 0) * get_world_size()} in total'
        lines['learning rate'] = _schedule(cfg)
        lines['precision'] = _precision(cfg)
        lines['checkpoints'] = (
            f'{_size(checkpoint_bytes(model))} each at most; {_size(free_bytes(cfg.work_dir))} are free on that disk'
        )
        checkpoint = checkpoint or ('the last checkpoint of the work dir' if cfg.get('resume') else None)
    lines['starts from'] = checkpoint or _initial_weights(cfg)
    lines['writes to'] = cfg.work_dir
    return ''.join(f'{name:<14}{value}\n' for name, value in lines.items())


def _initial_weights(cfg: Config) -> str:
    """The pretrained files of the model and of its parts; what they do not hold starts from random weights."""
    suffix = '.init_cfg.checkpoint'
    settings = walk_settings(cfg.model, 'model')
    files = {key.removesuffix(suffix): file for key, file in settings if key.endswith(suffix) and file}
    named = ', '.join(f'{file} ({part})' for part, file in files.items())
    if not files:
        return 'random weights'
    return named if 'model' in files else f'{named}, otherwise random weights'


def _images(loader: DataLoader) -> str:
    try:
        count = f'{len(loader.dataset):,}'  # type: ignore[arg-type]
    except TypeError:
        return 'as many as the dataset has'
    classes = classes_of(loader.dataset)
    return f'{count} in {len(classes)} classes' if classes else count


def _schedule(cfg: Config) -> str:
    """The learning rate from step to step, as the config describes it."""
    peak = cfg.optim_wrapper.get('optimizer', {}).get('lr')
    if peak is None:
        return 'as set in the optimizer'
    parts = [f'peak {peak:g}']
    schedulers = cfg.get('param_scheduler') or []
    for step in schedulers if isinstance(schedulers, list) else [schedulers]:
        if 'type' not in step:
            continue
        unit = 'epoch' if step.get('by_epoch', True) else 'step'
        span = f'{unit}s {step.get("begin", 0)} to {step.get("end", "the end")}'
        start = f' from {peak * step["start_factor"]:g}' if 'start_factor' in step else ''
        last = step.get('eta_min', peak * step['eta_min_ratio'] if 'eta_min_ratio' in step else None)
        parts.append(f'{step["type"]} in {span}{start}{"" if last is None else f" to {last:g}"}')
    return '; '.join(parts)


def _precision(cfg: Config) -> str:
    wrapper = cfg.optim_wrapper
    return f'mixed, {wrapper.get("dtype", "float16")}' if wrapper.get('type') == 'AmpOptimWrapper' else 'float32'


def _size(count: float) -> str:
    units = ['bytes', 'kB', 'MB', 'GB', 'TB']
    while count >= 1000 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f'{count:.3g} {units[0]}'


def _key_of(component: Component | None, section: str, cfg: Config) -> str:
    """Dotted key of a component of the config; the section if it cannot be found there."""
    if component is None:
        return section
    groups = [
        (len(group), key.startswith(section), key)
        for key, group in walk_settings(cfg._cfg_dict)
        if isinstance(group, dict)
        and group.get('type') == component.name
        and all(component.config.get(name) == value for name, value in group.items())
    ]
    return max(groups)[-1] if groups else section


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Nothing of what is built for a look goes to the log, which gets it when the run builds its own."""
    former, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = former
