"""The tokenizer of BEiT v1: DALL-E's discrete VAE (Bao et al. 2021, section 2.1)."""

from __future__ import annotations

from typing import Any

import mmpretrain.models  # noqa: F401  (registers mmpretrain.DALL-E)
from mmengine.model import BaseModel
from torch import Tensor

from mmbeitv2.registry import MODELS


@MODELS.register_module()
class DALLETokenizer(BaseModel):
    """mmpretrain's DALL-E encoder as a tokenizer for pretraining; it cannot be trained.

    ``init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=FILE)`` loads mmpretrain's ``dalle_encoder.pth``.

    Args:
        img_size: side in pixels of its input images (``view_size`` of the preprocessor).
        encoder: settings of mmpretrain's ``DALL-E``.
        init_cfg: see mmengine.
    """

    num_codes = 8192
    in_channels = 3
    patch_size = 8  # an image of 112 pixels has 14x14 codes

    def __init__(self, img_size: int = 112, encoder: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.encoder = MODELS.build({'type': 'mmpretrain.DALL-E', **(encoder or {})})
        self.grid_size = (img_size // self.patch_size, img_size // self.patch_size)

    def tokenize(self, images: Tensor) -> Tensor:
        """Codes (B, h·w) int64 of images (B, 3, H, W) in [-1, 1]."""
        # DALL-E wants pixels in [0.1, 0.9].
        logits = self.encoder(images.float() * 0.4 + 0.5)  # (B, num_codes, h, w)
        return logits.argmax(dim=1).flatten(1)

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Tensor:
        """Codes (B, h·w), whatever the mode."""
        return self.tokenize(inputs)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for key in [key for key in state_dict if key.startswith(f'{prefix}blocks.')]:  # as they are published
            state_dict[f'{prefix}encoder.{key[len(prefix) :]}'] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)
