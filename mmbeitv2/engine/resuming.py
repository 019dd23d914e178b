"""Hooks that make a run that was killed and resumed end like an uninterrupted one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from mmbeitv2.checkpoints.locating import locate, projects_loader
from mmbeitv2.checkpoints.tensors import existing_file, is_cut_off
from mmbeitv2.errors import InputError
from mmbeitv2.fileio import PARTIAL, AtomicBackend
from mmbeitv2.registry import HOOKS


@HOOKS.register_module()
class SeedStepHook(Hook):
    """Seeds the generators before each training step from the seed of the run, the rank and the step.

    The random numbers of the model (drop path, mixing, replaced codes) are then the same after a resume, without any
    stored state.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        key = [runner.seed, runner.rank, runner.iter]
        numpy_seed, python_seed, torch_seed = np.random.SeedSequence(key).generate_state(3).tolist()
        np.random.seed(numpy_seed)
        random.seed(python_seed)
        torch.manual_seed(torch_seed)


class _KeepingBackend(AtomicBackend):
    """Notes what mmengine removes before it writes the next file, to be removed afterwards."""

    def __init__(self) -> None:
        self.outdated: list[str] = []

    def isfile(self, filepath: str | Path) -> bool:
        return True

    def remove(self, filepath: str | Path) -> None:
        self.outdated.append(str(filepath))


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, except that a complete checkpoint exists at all times, even after a kill.

    mmengine's hook writes directly into the file, and removes the oldest checkpoint, or the former best one, before it
    writes the next. This hook only removes files in its own folder, even after the work dir was copied, and also
    removes partial files of a killed run.

    Args:
        kwargs: see ``CheckpointHook``; files must be local.
    """

    priority = 'VERY_LOW'
    file_backend: _KeepingBackend

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(backend_args=dict(backend='mmbeitv2.AtomicBackend'), **kwargs)

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self.file_backend = _KeepingBackend()
        if is_main_process():
            for partial in Path(self.out_dir).glob(f'*.pth{PARTIAL}'):  # as large as a checkpoint
                partial.unlink()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        self._remove_outdated()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        for path in self.file_backend.outdated:  # that of a former place, if the work dir was copied
            Path(self.out_dir, Path(path).name).unlink(missing_ok=True)
        self.file_backend.outdated.clear()


def prepare_resume(cfg: Config) -> str | None:
    """Finds the checkpoint to resume from: sets ``cfg.load_from``, or turns ``cfg.resume`` off. A new run is told if
    the work dir has checkpoints of another.

    A checkpoint that the user names is downloaded if necessary (:func:`mmbeitv2.checkpoints.locating.locate`). The file
    that ``last_checkpoint`` names is searched for in the work dir first, so that a copied work dir continues from its
    own checkpoints.

    Returns:
        A line for the log if there is no checkpoint to resume from yet, or if there is one that is not resumed from.

    Raises:
        InputError: if the file does not exist, cannot be downloaded, or is truncated; names an earlier complete
            checkpoint.
    """
    start = cfg.get('load_from')
    if start and projects_loader(start) is None:
        existing_file(locate(start))
    work_dir = Path(cfg.work_dir)
    path = last_checkpoint(work_dir)
    if not cfg.get('resume') and path is not None:
        return (
            f'The checkpoints of an earlier run in {str(work_dir)!r} will be overwritten by this run. Add --resume to '
            'continue the earlier run, or choose another --work-dir to keep them.'
        )
    if start or not cfg.get('resume'):
        return None
    if path is None:
        cfg.resume = False
        return f'No checkpoint in {str(work_dir)!r} to resume from. The run starts from the beginning.'
    problem = 'does not exist' if not path.is_file() else 'is truncated' if is_cut_off(path) else None
    if problem:
        newest = _newest_whole(work_dir, path.name)
        remedy = f'continue from the one before with --resume {newest}' if newest else 'start in another --work-dir'
        raise InputError(f'the last checkpoint {str(path)!r} {problem}: {remedy}')
    cfg.load_from = str(path)
    return None


def last_checkpoint(work_dir: Path) -> Path | None:
    """The file that ``last_checkpoint`` of a work dir names, which may not exist; None if nothing was saved yet.

    In a copied work dir, it is the file of that name there. A run that was killed while it wrote ``last_checkpoint``
    leaves it empty; then it is the newest checkpoint.
    """
    pointer = work_dir / 'last_checkpoint'
    if not pointer.is_file():
        return None
    named = pointer.read_text(errors='replace').strip()
    if not named:
        return _newest_whole(work_dir)
    here = work_dir / Path(named).name
    return here if here.is_file() else Path(named)


def _newest_whole(work_dir: Path, but: str = '') -> Path | None:
    files = (*work_dir.glob('epoch_*.pth'), *work_dir.glob('iter_*.pth'))
    whole = [file for file in files if file.name != but and not is_cut_off(file)]
    return max(whole, key=lambda file: file.stat().st_mtime, default=None)
