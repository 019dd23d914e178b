"""Holds modules that must not be trained: teachers, and the tokenizer during pretraining."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmbeitv2.errors import require_known

Precision = Literal['float16', 'bfloat16', 'float32']


class Frozen(nn.Module):
    """Hides a module from training.

    The module follows ``.to()``, but does not appear in ``parameters()`` (so neither in the optimizer nor in DDP's
    buckets) or in ``state_dict()``, and stays in eval mode even if ``train()`` is called. Under autocast, the module
    computes in its own precision, whatever that of the training is; without autocast it computes in float32.

    Args:
        module: the module to hold.
        precision: precision under autocast: ``'float16'``, ``'bfloat16'`` or ``'float32'``.
    """

    module: Any  # any nn.Module, whose own methods callers use

    def __init__(self, module: nn.Module, precision: Precision = 'float16') -> None:
        super().__init__()
        require_known(('precision', precision, Precision))
        self.precision = getattr(torch, precision)
        self.__dict__['module'] = module.requires_grad_(False).eval()  # past nn.Module's own registration

    def call(self, method: str, *args: Tensor) -> Tensor:
        """Runs a method of the held module without gradients."""
        with torch.no_grad(), self.autocast(args[0].device):
            return getattr(self.module, method)(*args)

    def autocast(self, device: torch.device) -> torch.autocast:
        """Replaces the precision of an autocast around it, if there is one, by the module's own."""
        is_reduced = torch.is_autocast_enabled(device.type) and self.precision != torch.float32
        return torch.autocast(device.type, self.precision, enabled=is_reduced)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        super()._apply(fn, recurse)
        self.module._apply(fn, recurse)
        return self


def init_quietly(module: Any) -> None:
    """Initializes a module to hold, if it has a way to; mmengine would list each of its weights on the screen."""
    if hasattr(module, 'init_weights'):
        module._dump_init_info = lambda: None
        module.init_weights()
        del module._dump_init_info


def fingerprint(module: nn.Module, without: Collection[str] = ()) -> str:
    """A hash of the content of all weights, apart from those of some names."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if name in without:
            continue
        digest.update(f'{name} {tuple(value.shape)} {value.dtype}'.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
