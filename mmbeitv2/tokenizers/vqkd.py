"""VQ-KD, the visual tokenizer (paper, section 2.2 and appendix D)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.errors import InputError
from mmbeitv2.layers import init_layers
from mmbeitv2.registry import MODELS
from mmbeitv2.teachers.color import check_color_channels


@MODELS.register_module()
class VQKD(BaseModel):
    """Tokenizer that learns by vector-quantized knowledge distillation.

    An encoder computes a feature of each patch, the quantizer replaces it by a code vector, and a shallow decoder
    reconstructs the teacher's features from the code vectors alone.

    Args:
        encoder: config of the encoder, a backbone whose only output is a feature map (B, C, h, w).
        decoder: config of the decoder, likewise, with patch size 1 and the code width as ``in_channels``.
        quantizer: config of the quantizer.
        teacher: config of the teacher; None for a tokenizer that is only used, not trained.
        target_dims: width of the reconstructed features; None for that of the teacher.
        teacher_channels: channels of the images, counted from 0, that the teacher sees as red, green and blue, clipped
            to [-1, 1]. One may be repeated, for example (0, 0, 0) for gray images. None for RGB images.
        data_preprocessor: config of the preprocessor, which must bring images to [-1, 1].
        init_cfg: see mmengine; ``mmbeitv2.PretrainedBEiTv2`` loads a tokenizer of ours or a released one.
    """

    def __init__(
        self,
        encoder: dict,
        decoder: dict,
        quantizer: dict,
        teacher: dict | None = None,
        target_dims: int | None = None,
        teacher_channels: Sequence[int] | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.teacher = None if teacher is None else MODELS.build(teacher)
        if self.teacher is not None:
            if target_dims not in (None, self.teacher.embed_dims):
                raise InputError(
                    f'target_dims={target_dims}, but the features of the teacher are {self.teacher.embed_dims} wide. '
                    'Leave target_dims out.'
                )
            target_dims = self.teacher.embed_dims
        if target_dims is None:
            raise InputError(
                'a tokenizer without a teacher needs target_dims, the width of the features that it reconstructs'
            )
        self.encoder = MODELS.build(encoder)
        self.quantize = MODELS.build(quantizer)
        self.decoder = MODELS.build(decoder)
        self.teacher_channels = None if teacher_channels is None else list(teacher_channels)
        if teacher_channels is not None:
            check_color_channels('teacher_channels', teacher_channels, self.in_channels)
        elif self.teacher is not None and self.in_channels != 3:
            raise InputError(
                f'the tokenizer takes images of {self.in_channels} channels, but its teacher takes three. Set '
                'teacher_channels to the channels that the teacher should see as red, green and blue.'
            )
        check_decoder(self.decoder, self.quantize.code_dim, self.encoder.grid_size)
        width, decoder_width = self.encoder.embed_dims, self.decoder.embed_dims
        self.encode_task_layer = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, self.quantize.code_dim)
        )
        self.decode_task_layer = nn.Sequential(
            nn.Linear(decoder_width, decoder_width), nn.Tanh(), nn.Linear(decoder_width, target_dims)
        )

    @property
    def grid_size(self) -> tuple[int, int]:
        """Codes (h, w) of an image of the encoder's ``img_size``."""
        return self.encoder.grid_size

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.encoder.patch_embed.proj.in_channels

    @property
    def num_codes(self) -> int:
        """Size of the codebook."""
        return self.quantize.num_codes

    @property
    def patch_size(self) -> int:
        """Side in pixels of the patch that belongs to a code."""
        return self.encoder.patch_size

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantizes images.

        Args:
            images: (B, C, H, W) in [-1, 1].

        Returns:
            Code vectors (B, D, h, w), the commitment loss, the codes (B, h·w) int64.
        """
        (features,) = self.encoder(images)  # (B, C, h, w)
        with torch.autocast(images.device.type, enabled=False):  # the projection before the quantizer runs in float32
            features = self.encode_task_layer(features.float().permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.quantize(features)

    def decode(self, quantized: Tensor) -> Tensor:
        """Rebuilds the teacher's features (B, h·w, Dt) from code vectors (B, D, h, w)."""
        (features,) = self.decoder(quantized)
        return self.decode_task_layer(features.flatten(2).transpose(1, 2))

    def tokenize(self, images: Tensor) -> Tensor:
        """Codes (B, h·w) int64 of images (B, C, H, W) in [-1, 1]."""
        return self.encode(images)[2]

    def lookup(self, codes: Tensor) -> Tensor:
        """Code vectors (..., D) of codes (...)."""
        return self.quantize.lookup(codes)

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[DataSample]:
        """Runs the tokenizer.

        Args:
            inputs: images (B, C, H, W) in [-1, 1].
            data_samples: one per image, used by ``mode='predict'``.
            mode: ``'tensor'`` returns the codes (B, h·w); ``'loss'`` the losses; ``'predict'`` the data samples with
                ``codes`` (h·w,) and ``reconstruction_loss`` (1,) for the metrics.
        """
        if mode == 'tensor':
            return self.tokenize(inputs)
        quantized, commitment, codes = self.encode(inputs)
        distance = self._distance_to_teacher(inputs, quantized)
        if mode == 'loss':
            return dict(loss_reconstruction=distance.mean(), loss_commitment=commitment)
        if mode == 'predict':
            return add_codes(data_samples, codes, distance)
        raise InputError(f'mode={mode!r} is unknown. Choose tensor, loss or predict.')

    def _distance_to_teacher(self, images: Tensor, quantized: Tensor) -> Tensor:
        """1 - cosine of the teacher's and the rebuilt feature of each patch, (B, N) in [0, 2] (paper, equation 3)."""
        if self.teacher is None:
            raise InputError(
                'this tokenizer has no teacher, so it can tokenize but not be trained or scored. Set model.teacher.'
            )
        if self.teacher_channels is not None:
            images = images[:, self.teacher_channels].clamp(-1, 1)
        target = self.teacher(images.add(1).div(2), quantized.shape[-2:])
        return 1 - F.cosine_similarity(self.decode(quantized).float(), target, dim=-1)

    def init_weights(self) -> None:
        """Truncated normal task layers; encoder and decoder by their own; then ``init_cfg`` if there is one."""
        if not self.is_init:
            for layers in (self.encode_task_layer, self.decode_task_layer):
                init_layers(layers)
        super().init_weights()


def add_codes(data_samples: list[DataSample] | None, codes: Tensor, distance: Tensor) -> list[DataSample]:
    """Data samples with what the metrics need.

    Args:
        data_samples: one per image; None for new ones.
        codes: (B, N) int64.
        distance: (B, N), 1 - cosine of each patch's target and what stands for it.

    Returns:
        The data samples with ``codes`` (N,) and ``reconstruction_loss`` (1,).
    """
    data_samples = data_samples or [DataSample() for _ in codes]
    for sample, code, value in zip(data_samples, codes, distance.mean(dim=1, keepdim=True), strict=True):
        sample.set_field(code, 'codes')
        sample.set_field(value, 'reconstruction_loss')
    return data_samples


def check_decoder(decoder: BEiTv2ViT, code_dim: int, grid_size: tuple[int, int]) -> None:
    """Refuses a decoder that does not take a map of codes.

    Args:
        decoder: the decoder.
        code_dim: width of a code.
        grid_size: codes (h, w) of an image.
    """
    if decoder.patch_size != 1 or decoder.patch_embed.proj.in_channels != code_dim:
        raise InputError(f'the decoder must take codes. Set its patch_size=1 and in_channels={code_dim}.')
    if decoder.grid_size != grid_size:
        raise InputError(
            f'the decoder has the patch grid {decoder.grid_size}, but the encoder has {grid_size}. Set '
            f'img_size={grid_size} of the decoder.'
        )
