"""mmengine's runner, which reads and writes checkpoints safely."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import BaseLoop, Runner
from torch import nn

from mmbeitv2.engine import unwrapped


class SafeRunner(Runner):
    """mmengine's ``Runner``, whose checkpoints are written completely or not at all, whatever hook asks for them.

    On CPU, SyncBN becomes BN with several processes too.
    """

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if not torch.cuda.is_available():
            model = revert_sync_batchnorm(model)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            return model.to(get_device())  # without gradients to average, which torch's wrapper refuses
        return super().wrap_model(model_wrapper_cfg, model)

    def load_or_resume(self) -> None:
        super().load_or_resume()
        if isinstance(self._train_loop, BaseLoop):
            super().dump_config()

    def dump_config(self) -> None:
        """Writes nothing before a training starts, so that neither a rejected run nor a test, which changes the config,
        overwrites the config of an earlier training."""

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict:
        if any(key.startswith('module.') for key in unwrapped(self).state_dict()):  # of a LoRAModel
            # Else mmengine takes the prefix away, and loads nothing.
            kwargs.setdefault('revise_keys', [(r'^module\.(?=module\.)', '')])
        checkpoint = super().load_checkpoint(*args, **kwargs)
        checkpoint.get('meta', {}).pop('config', None)  # mmengine would run its text when it resumes
        if 'ema_state_dict' in checkpoint and not self._resume:
            self.logger.info('The weights are the averages of training: the checkpoint was written with EMAHook')
        return checkpoint

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        is_local = '://' not in out_dir and kwargs.get('file_client_args') is None and not any(args)
        if is_local and kwargs.get('backend_args') is None:  # mmengine's CheckpointHook writes into the file itself
            kwargs['backend_args'] = dict(backend='mmbeitv2.AtomicBackend')
        super().save_checkpoint(out_dir, filename, *args, **kwargs)
