from __future__ import annotations

from .eomt_head import EoMTHead
from .mim_head import BEiTv2MIMHead
from .uper_head import EfficientUPerHead

__all__ = ['BEiTv2MIMHead', 'EfficientUPerHead', 'EoMTHead']
