"""A holder for modules that nothing may train: teachers, and the tokenizer during pretraining."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn


def inference() -> AbstractContextManager:
    """Inference mode; under the compiler, which cannot trace inference tensors, no gradients only."""
    return torch.no_grad() if torch.compiler.is_compiling() else torch.inference_mode()


class Frozen(nn.Module):
    """Holds a module out of sight of training.

    The held module follows ``.to()``, but appears in no ``parameters()``, so in no optimizer and no DDP bucket, in no
    ``state_dict()``, and stays in eval mode whatever ``train()`` is called on.
    """

    module: Any  # any nn.Module, whose own methods callers use

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.__dict__['module'] = module.requires_grad_(False).eval()  # past nn.Module's own registration

    def call(self, method: str, *args: Tensor) -> Tensor:
        """Runs a method of the held module in inference mode; the result is a normal tensor that autograd can save."""
        with inference():
            result = getattr(self.module, method)(*args)
        return result.clone()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Frozen:
        super()._apply(fn, recurse)
        self.module._apply(fn, recurse)
        return self
