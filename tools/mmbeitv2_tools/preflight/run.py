"""Builds everything that a run needs before its first step, and describes the run."""

from __future__ import annotations

import copy
import logging
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, FlexibleRunner, Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mmbeitv2.datasets.seeding import generators_kept
from mmbeitv2.engine import guard_resume, unwrapped
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.locking import hold_folder
from mmbeitv2.fileio.outputs import require_writable_folder
from mmbeitv2.inference.config import walk_settings
from mmbeitv2_tools.launch import build_runner, is_first_process
from mmbeitv2_tools.preflight.data import (
    MAX_LABELS,
    check_elongated,
    check_labels,
    check_loader,
    check_same_classes,
    classes_of,
    no_images,
)

AnyRunner: TypeAlias = Runner | FlexibleRunner


def checked_runner(
    cfg: Config, is_training: bool, is_rehearsal: bool = False, allow_changes: Sequence[str] = ()
) -> AnyRunner:
    """A runner whose data, labels, classes, schedule and disk have been checked.

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
        InputError: for the first mistake; a rehearsal tells all that it finds.
    """
    _require_sections(cfg, is_training)
    require_writable_folder(cfg.work_dir, 'work dir')
    if is_training and not is_rehearsal and is_first_process(cfg.launcher):
        hold_folder(cfg.work_dir)  # before the runner makes a folder for its log
    runner = _rehearsing_runner(cfg) if is_rehearsal else build_runner(cfg)
    model: Any = unwrapped(runner)
    problems = _Problems(is_rehearsal)
    with problems.collected():
        _require_two_classes(model)
    with generators_kept():
        loaders = _loaders(runner, cfg, is_training, problems)
        for stage, loader in loaders.items():
            _check_data(f'{stage}_dataloader', loader, runner, loaders.get('train'), problems)
        if is_training:
            if not problems.found:
                with problems.collected():
                    _check_schedule(runner, cfg)
            if is_main_process():
                with problems.collected():
                    _check_space(model, cfg.work_dir)
    if is_training:
        guard_resume(runner, allow_changes)
    if is_training and is_rehearsal:
        runner.register_hook(_StopHook(), priority='LOWEST')
        with problems.collected(), suppress(_FirstStep):
            if problems.found:  # the run would not get as far as its pretrained weights
                model.init_weights()
            else:
                runner.train()
    problems.report()
    return runner


def show_plan(runner: AnyRunner, cfg: Config, is_training: bool, checkpoint: str | None) -> None:
    """Prints what would run.

    Args:
        runner: of :func:`checked_runner`, as a rehearsal.
        cfg: of the run.
        is_training: whether it would train, or be scored.
        checkpoint: from which it would continue, or which would be scored.
    """
    if is_main_process():
        loaders = _loaders(runner, cfg, is_training, _Problems(False))
        sys.stdout.write(_summary(runner, cfg, loaders, is_training, checkpoint))


class _Problems:
    """The mistakes that independent checks find.

    Args:
        is_patient: whether to collect them until :meth:`report`, or to raise the first.
    """

    def __init__(self, is_patient: bool) -> None:
        self.is_patient, self.found = is_patient, list[str]()

    @contextmanager
    def collected(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            if not self.is_patient:
                raise
            if str(error) not in self.found:
                self.found.append(str(error))

    def report(self) -> None:
        if len(self.found) > 1:
            numbered = ' '.join(f'({number}) {text}' for number, text in enumerate(self.found, start=1))
            raise InputError(f'{len(self.found)} problems: {numbered}')
        if self.found:
            raise InputError(self.found[0])


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


def _require_sections(cfg: Config, is_training: bool) -> None:
    stage, last = ('train', 'optim_wrapper') if is_training else ('test', 'test_evaluator')
    missing = [key for key in (f'{stage}_dataloader', f'{stage}_cfg', last) if cfg.get(key) is None]
    if missing:
        raise InputError(
            f'{"training" if is_training else "scoring"} needs {" and ".join(missing)}, which config '
            f'{cfg.filename!r} does not set. Add them to the config.'
        )


def _require_two_classes(model: nn.Module) -> None:
    """A softmax over a single class is 1 whatever the weights are, so nothing would be learned."""
    head: Any = getattr(model, 'decode_head', None) or getattr(model, 'head', None)
    loss = getattr(head, 'loss_decode', None) or getattr(head, 'loss_module', None)
    outputs = getattr(head, 'out_channels', getattr(head, 'num_classes', None))
    if outputs == 1 and head.num_classes == 1 and getattr(loss, 'use_sigmoid', None) is False:
        raise InputError(
            'the model has a single class, from which nothing can be learned. Name the rest as a second class, for '
            'example "background", or use a loss with use_sigmoid=True.'
        )


def _loaders(runner: AnyRunner, cfg: Config, is_training: bool, problems: _Problems) -> dict[str, DataLoader]:
    """The runner's own loaders, which it keeps."""
    stages = {'train': lambda: runner.train_loop, 'val': lambda: runner.val_loop, 'test': lambda: runner.test_loop}
    wanted = ['train', *(['val'] if cfg.get('val_dataloader') is not None else [])] if is_training else ['test']
    loaders = {}
    for stage in wanted:
        with problems.collected():
            try:
                loaders[stage] = stages[stage]().dataloader
            except ValueError as error:  # mmengine, of an empty list of samples
                if 'need at least one array' not in str(error):
                    raise
                raise InputError(no_images(f'{stage}_dataloader', cfg[f'{stage}_dataloader'].dataset)) from error
    return {stage: loader for stage, loader in loaders.items() if isinstance(loader, DataLoader)}


def _check_data(key: str, loader: DataLoader, runner: AnyRunner, train: DataLoader | None, problems: _Problems) -> None:
    model, limit = unwrapped(runner), None if problems.is_patient else MAX_LABELS
    before = len(problems.found)
    if train is not None:
        with problems.collected():
            check_same_classes(key, loader.dataset, train.dataset)
    if is_main_process():
        with problems.collected():
            odd = check_labels(key, loader.dataset, model, limit)
            if odd and problems.is_patient:
                runner.logger.warning(f'{key}: {odd}')
            check_elongated(key, loader, limit)
    if len(problems.found) == before:
        with problems.collected():
            check_loader(key, loader)
    if problems.is_patient and not problems.found:
        with problems.collected():
            _pass_batch(key, loader, model, isinstance(runner.train_loop, EpochBasedTrainLoop) if train else False)


def _pass_batch(key: str, loader: DataLoader, model: nn.Module, is_by_epoch: bool) -> None:
    """Passes one batch through the data preprocessor and, in training, through a model with batch norm."""
    if loader.batch_sampler is None or loader.collate_fn is None or not hasattr(loader.dataset, '__getitem__'):
        return
    samples = [loader.dataset[index] for index in next(iter(loader.batch_sampler))]
    is_training = key == 'train_dataloader'
    preprocess: Any = model.data_preprocessor
    try:
        preprocess(loader.collate_fn(samples), is_training)
    except (AssertionError, RuntimeError, ValueError) as error:
        shapes = {tuple(sample['inputs'].shape) for sample in samples if hasattr(sample.get('inputs'), 'shape')}
        if len(shapes) < 2:
            raise
        raise InputError(
            f'{key}: the images of a batch cannot be stacked, because they have different sizes, such as '
            f'{" and ".join(map(str, sorted(shapes)[:2]))}. Set {key}.batch_size=1, or bring them to one size in the '
            'pipeline.'
        ) from error
    if not is_training or not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return
    sampler: Any = loader.sampler
    rest = len(sampler) % len(samples) if is_by_epoch and not loader.drop_last else 0
    model.train()
    try:
        inputs = preprocess(loader.collate_fn(samples[: 1 if rest == 1 else 2]), True)
        with torch.no_grad():
            model(**inputs, mode='loss')
    except ValueError as error:
        if 'more than 1 value per channel' not in str(error):
            raise
        where = f'the last batch of an epoch has one image ({key}.batch_size={loader.batch_size})' if rest else (
            f'{key}.batch_size is {loader.batch_size}'
        )  # fmt: skip
        raise InputError(
            f'{where}, but batch norm needs two. Set a larger {key}.batch_size, or {key}.drop_last=True.'
        ) from error


def _check_schedule(runner: AnyRunner, cfg: Config) -> None:
    """Builds optimizer and schedules once for the check; the runner builds its own when it starts."""
    if isinstance(runner, FlexibleRunner) or cfg.get('param_scheduler') is None:
        return
    former = runner.optim_wrapper
    try:
        with _silent(runner.logger):
            runner.optim_wrapper = runner.build_optim_wrapper(copy.deepcopy(cfg.optim_wrapper))
        runner.build_param_scheduler(copy.deepcopy(cfg.param_scheduler))
    except ValueError as error:
        if 'end should be larger than begin' not in str(error):
            raise
        raise InputError(
            f'a schedule of param_scheduler has no step: an epoch has {len(runner.train_dataloader)} step(s), fewer '
            'than its begin and end, which count in epochs, can tell apart. Train on more images, with a smaller '
            'train_dataloader.batch_size, or with a longer warm-up.'
        ) from error
    finally:
        runner.optim_wrapper = former


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


def _summary(
    runner: AnyRunner, cfg: Config, loaders: dict[str, DataLoader], is_training: bool, checkpoint: str | None
) -> str:
    model = unwrapped(runner)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    trained = sum(size for size, is_trained in sizes if is_trained)
    lines = {
        'config': cfg.filename,
        'model': f'{type(model).__name__}, {sum(size for size, _ in sizes):,} parameters, {trained:,} of them trained',
    }
    for stage, loader in loaders.items():
        classes = classes_of(loader.dataset)
        lines[f'{stage} images'] = f'{len(loader.dataset):,}' if hasattr(loader.dataset, '__len__') else 'a stream'
        lines[f'{stage} images'] += f' in {len(classes)} classes' if classes else ''
    lines['processes'] = str(get_world_size())
    lines['device'] = torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'
    if is_training:
        loop, size = runner.train_loop, loaders['train'].batch_size or 0
        epochs = f'{loop.max_epochs} epochs of {len(loaders["train"])} steps, ' if cfg.train_cfg.get('by_epoch') else ''
        lines['length'] = f'{epochs}{loop.max_iters:,} steps'
        lines['batch size'] = f'{size} images per process, {size * get_world_size()} in total'
        lines['learning rate'] = _schedule(cfg)
        lines['precision'] = 'mixed' if cfg.optim_wrapper.get('type') == 'AmpOptimWrapper' else 'float32'
        space = _checkpoint_bytes(model) / 1e9, _free_bytes(cfg.work_dir) / 1e9
        lines['checkpoints'] = f'{space[0]:.3g} GB each at most; {space[1]:.3g} GB are free on that disk'
        checkpoint = checkpoint or ('the last checkpoint of the work dir' if cfg.get('resume') else None)
    lines['starts from'] = checkpoint or _initial_weights(cfg)
    lines['writes to'] = cfg.work_dir
    return ''.join(f'{name:<14}{value}\n' for name, value in lines.items())


def _initial_weights(cfg: Config) -> str:
    """The pretrained files of the model and of its parts; what they do not hold starts from random weights."""
    suffix = '.init_cfg.checkpoint'
    settings = walk_settings(cfg.model, 'model')
    files = [f'{file} ({key.removesuffix(suffix)})' for key, file in settings if key.endswith(suffix) and file]
    return ', '.join([*files, 'otherwise random weights'] if files else ['random weights'])


def _schedule(cfg: Config) -> str:
    """The learning rate, as the config describes it."""
    schedulers = cfg.get('param_scheduler') or []
    parts = [f'peak {cfg.optim_wrapper.get("optimizer", {}).get("lr", "of the optimizer")}']
    for step in schedulers if isinstance(schedulers, list) else [schedulers]:
        unit = 'epoch' if step.get('by_epoch', True) else 'step'
        parts.append(f'{step.get("type")} in {unit}s {step.get("begin", 0)} to {step.get("end", "the end")}')
    return '; '.join(parts)


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Nothing of what is built for a look goes to the log, which gets it when the run builds its own."""
    former, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = former
