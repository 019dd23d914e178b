"""The backbones."""

from .beitv2_vit import ARCH, BEiTv2ViT
from .lora import LoRABackbone, merge_lora
from .timm_vit import TimmViT

__all__ = ['ARCH', 'BEiTv2ViT', 'LoRABackbone', 'TimmViT', 'merge_lora']
