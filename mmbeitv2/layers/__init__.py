"""What transformers are made of: plain torch, one path for every device."""

from .frozen import Frozen, Precision, fingerprint
from .initialization import InitRule, init_layers, rescale_blocks, trunc_normal
from .position_bias import Context, RelativePositionBias, RelativePositions
from .transformer import Attention, Block, PatchEmbed, drop_path_rates, require_patch, select_tokens, to_map

__all__ = [
    'Attention',
    'Block',
    'Context',
    'Frozen',
    'InitRule',
    'PatchEmbed',
    'Precision',
    'RelativePositionBias',
    'RelativePositions',
    'drop_path_rates',
    'fingerprint',
    'init_layers',
    'require_patch',
    'rescale_blocks',
    'select_tokens',
    'to_map',
    'trunc_normal',
]
