"""What transformers are made of: plain torch, one path for every device."""

from .cpu_attention import LookUp
from .frozen import Frozen, Precision, fingerprint
from .initialization import InitRule, init_layers, rescale_blocks, trunc_normal
from .position_bias import RelativePositionBias
from .transformer import Attention, Block, PatchEmbed, drop_path_rates, select_queries, to_map

__all__ = [
    'Attention',
    'Block',
    'Frozen',
    'InitRule',
    'LookUp',
    'PatchEmbed',
    'Precision',
    'RelativePositionBias',
    'drop_path_rates',
    'fingerprint',
    'init_layers',
    'rescale_blocks',
    'select_queries',
    'to_map',
    'trunc_normal',
]
