"""mmengine's runner with less output on the screen, and with error messages that say what it was doing."""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

import mmbeitv2.fileio  # noqa: F401  (registers AtomicBackend)
from mmbeitv2.errors import doing

# How lines of the log begin that nobody asked for; the log file has them.
_FOR_THE_FILE = (
    '\n------',  # system and runtime environment
    'Config:\n',
    'Hooks will be executed in the following order',
    'Distributed training is not used, all SyncBatchNorm',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias of',
    'Exp name: ',
    'Checkpoints will be saved to ',
    '`save_param_scheduler` is True but',
    'The prefix is not set in metric class',
)


class QuietRunner(Runner):
    """mmengine's ``Runner``, whose environment, config and list of hooks go to the log file only.

    Its errors say what was being done. On CPU, SyncBN becomes BN with several processes too.
    """

    _stage = ''

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_for_the_screen)
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if not torch.cuda.is_available():
            model = revert_sync_batchnorm(model)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            return model.to(get_device())  # without gradients to average, which torch's wrapper refuses
        return super().wrap_model(model_wrapper_cfg, model)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        self._stage = fn_name
        super().call_hook(fn_name, **kwargs)

    def train(self) -> nn.Module:
        with doing(self._action):
            return super().train()

    def val(self) -> dict:
        with doing(self._action):
            return super().val()

    def test(self) -> dict:
        with doing(self._action):
            return super().test()

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        with doing(f'building the model of {self.cfg.filename!r}'):
            return super().build_model(model)

    def build_optim_wrapper(self, optim_wrapper: Any) -> OptimWrapper:
        with doing(f'building the optimizer of {self.cfg.filename!r}'):
            return super().build_optim_wrapper(optim_wrapper)

    def register_hooks(self, *args: Any, **kwargs: Any) -> None:
        with doing(f'building the hooks of {self.cfg.filename!r}'):
            super().register_hooks(*args, **kwargs)

    def load_or_resume(self) -> None:
        with doing('loading a checkpoint'):
            super().load_or_resume()
        super().dump_config()

    def dump_config(self) -> None:
        """Writes nothing before the run starts, so that a rejected run does not overwrite the config of an earlier
        one."""

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        is_local = '://' not in out_dir and kwargs.get('file_client_args') is None and not any(args)
        if is_local and kwargs.get('backend_args') is None:  # mmengine's CheckpointHook writes into the file itself
            kwargs['backend_args'] = dict(backend='mmbeitv2.AtomicBackend')
        with doing(f'saving {filename} to {out_dir!r}'):
            super().save_checkpoint(out_dir, filename, *args, **kwargs)

    def _action(self) -> str:
        """What the runner is doing, by the hooks that it called last."""
        if self._stage.startswith(('before_val', 'after_val_')):
            return 'validating'
        if self._stage.startswith(('before_test', 'after_test')):
            return 'testing'
        if self._stage.startswith(('before_train_', 'after_train_', 'after_val')):
            return f'training, step {self.iter + 1}'
        return f'preparing the run of {self.cfg.filename!r}'


def _is_for_the_screen(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_FOR_THE_FILE)
