from __future__ import annotations

from .beitv2_vit import ARCH, BEiTv2ViT, MaskedFeatures
from .eomt_vit import EoMTViT, MaskPrediction

__all__ = ['ARCH', 'BEiTv2ViT', 'EoMTViT', 'MaskPrediction', 'MaskedFeatures']
