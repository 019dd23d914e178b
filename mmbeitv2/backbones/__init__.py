"""The backbones."""

from .base import ViTBackbone
from .beitv2_vit import ARCH, BEiTv2ViT
from .lora import LoRABackbone, merge_lora
from .timm_vit import TimmViT

__all__ = ['ARCH', 'BEiTv2ViT', 'LoRABackbone', 'TimmViT', 'ViTBackbone', 'merge_lora']
