"""Hooks by which a run that was killed and resumed ends as one left alone."""

from __future__ import annotations

import random
import shutil
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

import mmbeitv2.fileio  # noqa: F401  (registers mmbeitv2.AtomicBackend)
from mmbeitv2.registry import HOOKS


@HOOKS.register_module()
class SeedStepHook(Hook):
    """Seeds the generators before each training step from the seed of the run, the rank and the step.

    What the model draws (drop path, mixing, revived codes) is then the same after a resume, with no state to keep.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        key = [runner.seed, runner.rank, runner.iter]
        numpy_seed, python_seed, torch_seed = np.random.SeedSequence(key).generate_state(3).tolist()
        np.random.seed(numpy_seed)
        random.seed(python_seed)
        torch.manual_seed(torch_seed)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``; whenever it is killed, ``last_checkpoint`` names a whole checkpoint.

    mmengine's writes into the file itself, and removes the oldest checkpoint before it saves the newest.

    Args:
        kwargs: see ``CheckpointHook``; files must be local.
    """

    priority = 'VERY_LOW'
    keep_ckpt_ids: deque

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(backend_args=dict(backend='mmbeitv2.AtomicBackend'), **kwargs)

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
        if not is_main_process():
            return
        self.file_backend.put_text(self.last_ckpt, Path(runner.work_dir) / 'last_checkpoint')
        for old in outdated:
            path = Path(self.out_dir) / self.filename_tmpl.format(old)
            if path.is_dir():  # a sharded checkpoint
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
