"""Initial weights, as the release draws them; ``docs/guides/differences.md`` has the table.

The release has two rules. In pretraining, all weights are drawn from a normal distribution that is truncated at one
standard deviation. In the tokenizer, in fine-tuning and in segmentation, it is truncated so far out that this has no
effect, and the patch embedding, a convolution, keeps torch's default.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

InitRule = Literal['default', 'pretraining']

_STD = 0.02
_CUTOFF = {'default': 2.0, 'pretraining': 0.02}


def trunc_normal(tensor: Tensor, rule: InitRule = 'default') -> None:
    """Fills ``tensor`` from a normal distribution of mean 0 and standard deviation 0.02, truncated as the rule says."""
    nn.init.trunc_normal_(tensor, std=_STD, a=-_CUTOFF[rule], b=_CUTOFF[rule])


def init_layers(module: nn.Module, rule: InitRule = 'default') -> None:
    """Truncated normal weights and zero biases in linear layers, in pretraining in convolutions too."""
    kinds = (nn.Linear, nn.Conv2d) if rule == 'pretraining' else (nn.Linear,)
    for layer in module.modules():
        if isinstance(layer, kinds):
            trunc_normal(layer.weight, rule)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@torch.no_grad()
def rescale_blocks(blocks: nn.ModuleList, first: int = 1) -> None:
    """Divides the output layers of block i by sqrt(2·i), i counted from ``first`` (BEiT, section 2.5)."""
    for i, block in enumerate(blocks, start=first):
        for layer in ('attn.proj', 'mlp.fc2'):
            block.get_parameter(f'{layer}.weight').div_(math.sqrt(2 * i))
