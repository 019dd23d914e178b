"""Hooks for training."""

from __future__ import annotations

import math

import torch
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner

from mmbeitv2.errors import InputError
from mmbeitv2.evaluation import codebook_statistics
from mmbeitv2.models import VQKD, NormEMAVectorQuantizer
from mmbeitv2.registry import HOOKS


@HOOKS.register_module()
class CodebookHook(Hook):
    """Logs ``codebook_usage`` (percent) and ``perplexity`` of the training steps since the log's last line.

    The counts are kept on the device, over all ranks; they are read only when a line is written.
    """

    priority = 'NORMAL'  # before the LoggerHook

    def before_train(self, runner: Runner) -> None:
        self._intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._quantizer(runner).window_counts.zero_()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        if not any(self.every_n_inner_iters(batch_idx, interval) for interval in self._intervals):
            return
        counts = self._quantizer(runner).window_counts
        for name, value in codebook_statistics(counts.cpu()).items():
            runner.message_hub.update_scalar(f'train/{name}', value)
        counts.zero_()

    @staticmethod
    def _quantizer(runner: Runner) -> NormEMAVectorQuantizer:
        model = getattr(runner.model, 'module', runner.model)
        if not isinstance(model, VQKD):
            raise InputError(f'CodebookHook watches a VQKD, not a {type(model).__name__}: leave it out of custom_hooks')
        return model.quantize


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stops when a loss is not finite, before a checkpoint is written from weights that it has spoilt.

    Costs nothing: mmengine has read the losses already.
    """

    priority = 'ABOVE_NORMAL'  # before checkpoints and logs

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        losses = {key: float(value.detach()) for key, value in (outputs or {}).items() if 'loss' in key}
        wrong = [key for key, value in losses.items() if not math.isfinite(value)]
        if wrong:
            raise InputError(
                f'step {runner.iter + 1}: {self._cause(runner, wrong, data_batch)}: checkpoints written before are '
                'whole, go on from one by --resume with a lower lr or gradient clipping, or without --amp'
            )

    @staticmethod
    def _cause(runner: Runner, wrong: list[str], data_batch: object) -> str:
        """What went wrong first, as far as it can be told after the step."""
        model = getattr(runner.model, 'module', runner.model)
        if not isinstance(model, VQKD):
            return f'{" and ".join(wrong)} became NaN or infinite'
        assert model.teacher is not None
        assert isinstance(data_batch, dict)
        with torch.no_grad():
            images = model.data_preprocessor(data_batch, training=True)['inputs']
            if not images.isfinite().all():
                return 'an image has pixels that are NaN or infinite'
            if not model.teacher(images.add(1).div(2), model.grid_size).isfinite().all():
                return f"the teacher's features are NaN or infinite (in {model.teacher.precision} on a GPU)"
        if 'loss_commitment' in wrong:
            return "the encoder's features are NaN or infinite"
        return "the decoder's features are NaN or infinite"
