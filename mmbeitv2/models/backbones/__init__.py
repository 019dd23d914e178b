from __future__ import annotations

from .beitv2_vit import ARCH, BEiTv2ViT, Block

__all__ = ['ARCH', 'BEiTv2ViT', 'Block']
