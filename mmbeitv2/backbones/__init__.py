"""The backbones."""

from .beitv2_vit import ARCH, BEiTv2ViT

__all__ = ['ARCH', 'BEiTv2ViT']
