"""VQ-KD, the visual tokenizer (paper, section 2.2 and appendix D)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.interfaces import Encoder
from mmbeitv2.layers import init_layers
from mmbeitv2.registry import MODELS
from mmbeitv2.tokenizers.distilling import DistillingTokenizer


@MODELS.register_module()
class VQKD(DistillingTokenizer):
    """Tokenizer that learns by vector-quantized knowledge distillation.

    An encoder computes a feature of each patch, the quantizer replaces it by a code vector, and a shallow decoder
    reconstructs the teacher's features from the code vectors alone. Each part may be any module that offers what its
    interface says (:mod:`mmbeitv2.interfaces`).

    Args:
        encoder: config of the encoder, a backbone whose only output is a feature map (B, C, h, w).
        decoder: config of the decoder, likewise, with patch size 1 and the code width as ``in_channels``.
        quantizer: config of the quantizer.
        settings: those of :class:`DistillingTokenizer`: ``teacher``, ``teacher_channels``, ``data_preprocessor``, ...
    """

    def __init__(self, encoder: dict, decoder: dict, quantizer: dict, **settings: Any) -> None:
        super().__init__(**settings)
        self.encoder = MODELS.build(encoder)
        self.grid_size, self.patch_size = self.encoder.grid_size, self.encoder.patch_size
        self.in_channels = self.encoder.in_channels
        self._set_quantizer(quantizer)
        self.decoder = MODELS.build(decoder)
        check_decoder(self.decoder, self.code_dim, self.grid_size)
        width, decoder_width = self.encoder.embed_dims, self.decoder.embed_dims
        self.encode_task_layer = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, self.code_dim))
        self.decode_task_layer = nn.Sequential(
            nn.Linear(decoder_width, decoder_width), nn.Tanh(), nn.Linear(decoder_width, self.target_dims)
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Code vectors (B, D, h, w), the quantizer's loss, and codes (B, h·w) of images (B, C, H, W) in [-1, 1]."""
        (features,) = self.encoder(images)  # (B, C, h, w)
        with torch.autocast(images.device.type, enabled=False):  # the projection before the quantizer runs in float32
            features = self.encode_task_layer(features.float().permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.quantize_features(features)

    def decode(self, quantized: Tensor) -> Tensor:
        """Rebuilds the teacher's features (B, h·w, Dt) from code vectors (B, D, h, w)."""
        (features,) = self.decoder(quantized)
        return self.decode_task_layer(features.flatten(2).transpose(1, 2))

    def distances(self, images: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See :class:`DistillingTokenizer`; the target is the teacher's feature (paper, equation 3)."""
        quantized, commitment, codes = self.encode(images)
        target = self.teacher_features(images, (quantized.shape[2], quantized.shape[3]))
        distance = 1 - F.cosine_similarity(self.decode(quantized).float(), target, dim=-1)
        return codes, distance, dict(loss_commitment=commitment)

    def init_weights(self) -> None:
        """Truncated normal task layers; encoder and decoder by their own; then ``init_cfg`` if there is one."""
        if not self.is_init:
            for layers in (self.encode_task_layer, self.decode_task_layer):
                init_layers(layers)
        super().init_weights()


def check_decoder(decoder: Encoder, code_dim: int, grid_size: tuple[int, int]) -> None:
    """Refuses a decoder that does not take a map of code vectors (B, code_dim, *grid_size)."""
    if (decoder.patch_size, decoder.in_channels, decoder.grid_size) != (1, code_dim, grid_size):
        raise InputError(
            f'the decoder must take the map of code vectors. Set its patch_size=1, in_channels={code_dim} and '
            f'img_size={grid_size}.'
        )
