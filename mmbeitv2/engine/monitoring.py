"""Hooks that monitor training: codebook usage, throughput, NaN losses."""

from __future__ import annotations

import math
import time
from typing import Any

from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook, LoggerHook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.evaluation import codebook_statistics
from mmbeitv2.registry import HOOKS


def unwrapped(runner: Runner) -> nn.Module:
    """The model without the wrappers for distributed training and for test-time augmentation."""
    model: Any = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):  # not a LoRAModel, which has a module too
        model = model.module
    return model


class LogWindowHook(Hook):
    """Base of hooks that accumulate a quantity between two lines of the log."""

    priority = 'NORMAL'  # before the LoggerHook

    def before_train(self, runner: Runner) -> None:
        self._intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]

    def is_logged(self, batch_idx: int) -> bool:
        """Whether the log gets a line after this step."""
        return any(self.every_n_inner_iters(batch_idx, interval) for interval in self._intervals)


@HOOKS.register_module()
class CodebookHook(LogWindowHook):
    """Logs ``codebook_usage`` (percent) and ``perplexity`` of the training steps since the last line of the log.

    It works for any tokenizer with ``code_counts`` (K,), to which each process adds how often it used each code; they
    are summed over all processes only when a line is written.
    """

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self._counts(runner).zero_()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        if not self.is_logged(batch_idx):
            return
        counts = self._counts(runner)
        all_reduce(counts)
        for name, value in codebook_statistics(counts.cpu()).items():
            runner.message_hub.update_scalar(f'train/{name}', value)
        counts.zero_()

    @staticmethod
    def _counts(runner: Runner) -> Tensor:
        model = unwrapped(runner)
        counts = getattr(model, 'code_counts', None)
        if counts is None:
            raise InputError(
                f'CodebookHook needs a tokenizer that counts its codes in code_counts, which a {type(model).__name__} '
                'does not have. Remove the hook from custom_hooks.'
            )
        return counts


@HOOKS.register_module()
class ThroughputHook(LogWindowHook):
    """Logs ``images_per_second`` of all ranks since the last line of the log, including data loading."""

    def before_train_epoch(self, runner: Runner) -> None:
        self._images, self._start = 0, time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        if not isinstance(data_batch, dict):  # mmpretrain's vis_scheduler.py trains on no data
            return
        self._images += len(data_batch['inputs'])
        if self.is_logged(batch_idx):
            now = time.perf_counter()
            speed = self._images * get_world_size() / (now - self._start)
            runner.message_hub.update_scalar('train/images_per_second', speed)
            self._images, self._start = 0, now


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stops training when a loss is NaN or infinite, before the damaged weights are written to a checkpoint.

    It needs no extra synchronization with the device, because mmengine reads the losses in every step anyway.
    """

    priority = 'ABOVE_NORMAL'  # before checkpoints and logs

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        losses = {key: float(value.detach()) for key, value in (outputs or {}).items() if 'loss' in key}
        wrong = [key for key, value in losses.items() if not math.isfinite(value)]
        if wrong:
            raise InputError(
                f'Training stopped at step {runner.iter + 1}: {" and ".join(wrong)} became NaN or infinite. '
                'The checkpoints written before this step are good. Continue from one with --resume and a lower '
                'optim_wrapper.optimizer.lr, with gradient clipping, or without --amp.'
            )
