"""Reconstructs images from codes. Not in the paper: VQ-KD itself reconstructs features."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.interfaces import CodebookTokenizer
from mmbeitv2.layers import Frozen, init_layers
from mmbeitv2.layers.frozen import init_quietly
from mmbeitv2.registry import MODELS
from mmbeitv2.tokenizers.vqkd import check_decoder


@MODELS.register_module()
class PixelDecoder(BaseModel):
    """A decoder that learns to reconstruct pixels from the codes of a frozen tokenizer, to see what the codes keep.

    Args:
        tokenizer: config of any :class:`mmbeitv2.interfaces.CodebookTokenizer`, with ``init_cfg`` for its weights.
            Nothing of it is trained or saved.
        decoder: config of the decoder, a :class:`mmbeitv2.interfaces.Encoder` with patch size 1 and the code width as
            ``in_channels``.
        data_preprocessor: config of the preprocessor, which must bring images to [-1, 1].
        init_cfg: see mmengine.
    """

    def __init__(
        self,
        tokenizer: dict,
        decoder: dict,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        frozen = MODELS.build(tokenizer)
        has_vectors = isinstance(frozen, CodebookTokenizer)
        if not has_vectors:
            raise InputError('a pixel decoder needs the vectors of the codes. Choose a tokenizer that has them.')
        init_quietly(frozen)
        self.tokenizer = Frozen(frozen)
        self.decoder = MODELS.build(decoder)
        check_decoder(self.decoder, frozen.code_dim, frozen.grid_size)
        self.patch_size = frozen.patch_size
        self.to_pixels = nn.Linear(self.decoder.embed_dims, frozen.in_channels * self.patch_size**2)

    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, C, H, W), about in [-1, 1], of codes (B, h, w) int64."""
        vectors = self.tokenizer.call('lookup', codes).permute(0, 3, 1, 2)  # (B, D, h, w)
        (features,) = self.decoder(vectors)  # (B, C, h, w)
        pixels = self.to_pixels(features.permute(0, 2, 3, 1))  # (B, h, w, C·p²)
        return F.pixel_shuffle(pixels.permute(0, 3, 1, 2), self.patch_size)

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[DataSample]:
        """Runs tokenizer and decoder.

        Args:
            inputs: images (B, C, H, W) in [-1, 1], H and W multiples of the patch size.
            data_samples: one per image, used by ``mode='predict'``.
            mode: ``'tensor'`` returns the images reconstructed from the codes; ``'loss'`` their mean absolute error;
                ``'predict'`` the data samples with ``squared_error`` (1,) for :class:`PeakSignalNoiseRatio`.
        """
        grid = (inputs.shape[2] // self.patch_size, inputs.shape[3] // self.patch_size)
        rebuilt = self.decode(self.tokenizer.call('tokenize', inputs).unflatten(1, grid))
        if mode == 'tensor':
            return rebuilt
        if mode == 'loss':
            return dict(loss_pixels=F.l1_loss(rebuilt.float(), inputs))
        data_samples = data_samples or [DataSample() for _ in inputs]
        errors = (rebuilt.float().clamp(-1, 1) - inputs).square().mean(dim=(1, 2, 3))
        for sample, error in zip(data_samples, errors, strict=True):
            sample.set_field(error.view(1), 'squared_error')
        return data_samples

    def init_weights(self) -> None:
        """Truncated normal output layer; the decoder by its own; then ``init_cfg`` if there is one."""
        if not self.is_init:
            init_layers(self.to_pixels)
        super().init_weights()
