"""Hooks that make a run that was killed and resumed end like an uninterrupted one."""

from __future__ import annotations

import random
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from mmbeitv2.checkpoints.locating import is_left_to_mmengine, locate
from mmbeitv2.checkpoints.tensors import existing_file, is_cut_off
from mmbeitv2.errors import InputError
from mmbeitv2.fileio import PARTIAL, AtomicBackend
from mmbeitv2.registry import HOOKS


@HOOKS.register_module()
class SeedStepHook(Hook):
    """Seeds the generators before each training step from the seed of the run, the rank and the step.

    The random numbers of the model (drop path, mixing, revived codes) are then the same after a resume, without any
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
    """mmengine's ``CheckpointHook``, except that ``last_checkpoint`` always names a complete checkpoint, even after a
    kill.

    mmengine's hook writes directly into the file, and removes the oldest checkpoint, or the former best one, before it
    writes the next. This hook only removes files in its own folder, even after the work dir was copied, and also
    removes partial files of a killed run.

    Args:
        kwargs: see ``CheckpointHook``; files must be local.
    """

    priority = 'VERY_LOW'
    keep_ckpt_ids: deque
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
        name = self.filename_tmpl.format(step)
        self.last_ckpt = str(Path(self.out_dir) / name)
        outdated = []
        if self.max_keep_ckpts > 0:
            kept = [kept for kept in self.keep_ckpt_ids if kept != step] + [step]
            outdated, kept = kept[: -self.max_keep_ckpts], kept[-self.max_keep_ckpts :]
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            self.file_backend.put_text(self.last_ckpt, Path(runner.work_dir) / 'last_checkpoint')
            for old in outdated:
                Path(self.out_dir, self.filename_tmpl.format(old)).unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        for path in self.file_backend.outdated:  # that of a former place, if the work dir was copied
            Path(self.out_dir, Path(path).name).unlink(missing_ok=True)
        self.file_backend.outdated.clear()


def prepare_resume(cfg: Config) -> str | None:
    """Finds the checkpoint to resume from: sets ``cfg.load_from``, or turns ``cfg.resume`` off.

    A checkpoint that the user names is downloaded if necessary (:func:`mmbeitv2.checkpoints.locating.locate`). The file
    that ``last_checkpoint`` names is searched for in the work dir first, so that a copied work dir continues from its
    own checkpoints.

    Returns:
        A line for the log if there is no checkpoint yet, so that the run starts from the beginning.

    Raises:
        InputError: if the file does not exist, cannot be downloaded, or is truncated; names an earlier complete
            checkpoint.
    """
    start = cfg.get('load_from')
    if start and not is_left_to_mmengine(start):
        existing_file(locate(start))
    if start or not cfg.get('resume'):
        return None
    work_dir = Path(cfg.work_dir)
    path = last_checkpoint(work_dir)
    if path is None:
        cfg.resume = False
        return f'No checkpoint in {str(work_dir)!r} to resume from. The run starts from the beginning.'
    problem = 'does not exist' if not path.is_file() else 'is truncated' if is_cut_off(path) else None
    if problem:
        others = (*work_dir.glob('epoch_*.pth'), *work_dir.glob('iter_*.pth'))
        whole = [other for other in others if other.name != path.name and not is_cut_off(other)]
        newest = max(whole, key=lambda other: other.stat().st_mtime, default=None)
        remedy = f'continue from the one before with --resume {newest}' if newest else 'start in another --work-dir'
        raise InputError(f'the last checkpoint {str(path)!r} {problem}: {remedy}')
    cfg.load_from = str(path)
    return None


def last_checkpoint(work_dir: Path) -> Path | None:
    """The file that ``last_checkpoint`` of a work dir names, which may not exist; None if nothing was saved yet.

    In a copied work dir, it is the file of that name there.
    """
    pointer = work_dir / 'last_checkpoint'
    if not pointer.is_file():
        return None
    named = Path(pointer.read_text(errors='replace').strip())
    return work_dir / named.name if (work_dir / named.name).is_file() else named
