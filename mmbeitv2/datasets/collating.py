"""From samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.dataset import default_collate

from mmbeitv2.registry import FUNCTIONS


@FUNCTIONS.register_module()
def stack_samples(samples: Sequence[dict], _scope_: str | None = None) -> dict:
    """mmengine's ``default_collate`` for configs that other projects inherit.

    Args:
        samples: each a dict of tensors and data samples.
        _scope_: ignored; mmengine marks an inherited ``collate_fn`` with it and passes the mark to the function.
    """
    return default_collate(samples)
