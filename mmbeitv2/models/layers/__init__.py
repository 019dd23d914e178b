from __future__ import annotations

from .cpu_attention import LookUp
from .initialisation import InitRule, init_layers, rescale_blocks, trunc_normal
from .position_bias import RelativePositionBias
from .pyramid_conv import conv3x3_of_pyramid
from .transformer import Attention, Block, PatchEmbed, drop_path_rates, select_queries, to_map

__all__ = [
    'Attention',
    'Block',
    'InitRule',
    'LookUp',
    'PatchEmbed',
    'RelativePositionBias',
    'conv3x3_of_pyramid',
    'drop_path_rates',
    'init_layers',
    'rescale_blocks',
    'select_queries',
    'to_map',
    'trunc_normal',
]
