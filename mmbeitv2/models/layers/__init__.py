from __future__ import annotations

from .initialisation import InitRule, init_layers, rescale_blocks, trunc_normal
from .position_bias import RelativePositionBias
from .pyramid_conv import conv3x3_of_pyramid
from .transformer import Attention, Block, PatchEmbed, drop_path_rates, select_queries

__all__ = [
    'Attention',
    'Block',
    'InitRule',
    'PatchEmbed',
    'RelativePositionBias',
    'conv3x3_of_pyramid',
    'drop_path_rates',
    'init_layers',
    'rescale_blocks',
    'select_queries',
    'trunc_normal',
]
