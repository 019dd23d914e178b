"""What tokenizers that learn from a teacher have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmbeitv2.errors import InputError
from mmbeitv2.interfaces import Quantizer, Teacher
from mmbeitv2.registry import MODELS
from mmbeitv2.teachers import check_color_channels


class DistillingTokenizer(BaseModel):
    """Base of the tokenizers that quantize or rebuild the features of a teacher.

    A subclass sets ``in_channels``, ``grid_size`` and ``patch_size``, and then calls ``_set_quantizer``.

    Args:
        teacher: config of the teacher; None for a tokenizer that is only used, not trained.
        target_dims: width of the teacher's features, only needed without a teacher.
        teacher_channels: channels of the images, counted from 0, that the teacher sees as red, green and blue, clipped
            to [-1, 1]. One may be repeated, for example (0, 0, 0) for gray images. None for RGB images.
        data_preprocessor: config of the preprocessor, which must bring images to [-1, 1].
        init_cfg: see mmengine; ``mmbeitv2.PretrainedBEiTv2`` loads a tokenizer of ours or a released one.

    Attributes:
        code_counts: (K,) int64, how often this process used each code in training mode; not saved.
            :class:`mmbeitv2.engine.CodebookHook` reads and clears it.
    """

    code_counts: Tensor
    quantize: Quantizer
    in_channels: int
    grid_size: tuple[int, int]
    patch_size: int

    def __init__(
        self,
        teacher: dict | None = None,
        target_dims: int | None = None,
        teacher_channels: Sequence[int] | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.teacher: Teacher | None = None if teacher is None else MODELS.build(teacher)
        width = target_dims if self.teacher is None else self.teacher.embed_dims
        if width is None:
            raise InputError('a tokenizer without a teacher needs target_dims, the width of the features it learned')
        if target_dims not in (None, width):
            raise InputError(f'target_dims={target_dims}, but the teacher has {width} features. Leave it out.')
        self.target_dims = width
        self.teacher_channels = None if teacher_channels is None else list(teacher_channels)

    def _set_quantizer(self, quantizer: dict) -> None:
        self.quantize = MODELS.build(quantizer)
        self.register_buffer('code_counts', torch.zeros(self.num_codes, dtype=torch.int64), persistent=False)
        if self.teacher_channels is not None:
            check_color_channels('teacher_channels', self.teacher_channels, self.in_channels)
        elif self.teacher is not None and self.in_channels != 3:
            raise InputError(
                f'the tokenizer takes images of {self.in_channels} channels, but its teacher takes three. Set '
                'teacher_channels to the channels that the teacher should see as red, green and blue.'
            )

    @property
    def num_codes(self) -> int:
        """Size K of the codebook."""
        return self.quantize.num_codes

    @property
    def code_dim(self) -> int:
        """Width D of a code vector."""
        return self.quantize.code_dim

    @abstractmethod
    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """What is computed of images (B, in_channels, H, W) in [-1, 1]; the codes (B, h·w) come last."""

    @abstractmethod
    def distances(self, images: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Codes (B, N), 1 - cosine of each patch's target and what stands for it (B, N), and further losses."""

    def tokenize(self, images: Tensor) -> Tensor:
        """Codes (B, h·w) int64 of images (B, in_channels, H, W) in [-1, 1]."""
        return self.encode(images)[-1]

    def lookup(self, codes: Tensor) -> Tensor:
        """Code vectors (..., D) of codes (...)."""
        return self.quantize.lookup(codes)

    def quantize_features(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the quantizer gives for features (B, D, h, w); in training mode the codes are counted."""
        quantized, loss, codes = self.quantize(features)
        if self.training:  # bincount would make the host wait for the device
            self.code_counts.scatter_add_(0, codes.flatten(), torch.ones_like(codes).flatten())
        return quantized, loss, codes

    def teacher_features(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """The teacher's features (B, h·w, Dt) of images (B, in_channels, H, W) in [-1, 1]."""
        if self.teacher is None:
            raise InputError('the tokenizer has no teacher, whose features are needed here. Set teacher.')
        if self.teacher_channels is not None:
            images = images[:, self.teacher_channels].clamp(-1, 1)
        return self.teacher(images.add(1).div(2), grid)

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[DataSample]:
        """Runs the tokenizer.

        Args:
            inputs: images (B, in_channels, H, W) in [-1, 1].
            data_samples: one per image, used by ``mode='predict'``.
            mode: ``'tensor'`` returns the codes (B, h·w); ``'loss'`` the losses; ``'predict'`` the data samples with
                ``codes`` (h·w,), ``reconstruction_loss`` (1,) and ``num_codes`` for the metrics.
        """
        if mode == 'tensor':
            return self.tokenize(inputs)
        codes, distance, losses = self.distances(inputs)
        if mode == 'loss':
            return dict(loss_reconstruction=distance.mean(), **losses)
        data_samples = data_samples or [DataSample() for _ in codes]
        for sample, code, value in zip(data_samples, codes, distance.mean(dim=1, keepdim=True), strict=True):
            sample.set_field(code, 'codes')
            sample.set_field(value, 'reconstruction_loss')
            sample.set_field(self.num_codes, 'num_codes')
        return data_samples
