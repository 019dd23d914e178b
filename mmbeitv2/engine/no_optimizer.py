"""An optimizer for models that learn without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from mmbeitv2.errors import InputError
from mmbeitv2.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class NoOptimizer(Optimizer):
    """Takes the place that mmengine's runner has for an optimizer, and does nothing.

    Args:
        params: must be empty: of a model without trainable parameters, which torch's own optimizers refuse.
        lr: learning rate that the log shows.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 0.0) -> None:
        if any(parameter.requires_grad for parameter in params):
            raise InputError(
                'the model has parameters to train, but mmbeitv2.NoOptimizer does not change them. Set another '
                'optim_wrapper.optimizer.'
            )
        super().__init__([{'params': []}], {'lr': lr})

    def step(self, closure: Callable | None = None) -> Any:
        return None if closure is None else closure()
