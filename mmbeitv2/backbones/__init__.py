"""The backbones."""

from .beitv2_vit import ARCH, BEiTv2ViT
from .timm_vit import TimmViT

__all__ = ['ARCH', 'BEiTv2ViT', 'TimmViT']
