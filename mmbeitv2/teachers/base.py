"""Frozen teachers, whose patch features the tokenizer learns to reconstruct (paper, section 2.2 and table 6)."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.layers import Frozen, Precision, fingerprint


class FrozenTeacher(Frozen):
    """Base of the teachers: input size, normalization and precision here, features in the subclass.

    Args:
        module: the network.
        img_size: side in pixels of the square input images.
        mean: per channel, for images in [0, 1].
        std: likewise.
        precision: see :class:`Frozen`.

    Attributes:
        embed_dims: width Dt of the features.
    """

    embed_dims: int
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        module: nn.Module,
        img_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        precision: Precision = 'float16',
    ) -> None:
        super().__init__(module, precision)
        self.img_size = img_size
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Features of each patch.

        Args:
            images: (B, 3, H, W) in [0, 1].
            grid: patches (h, w) of the tokenizer, to which the features are resampled.

        Returns:
            (B, h·w, Dt) float32, not normalized.
        """
        if images.shape[-2:] != (self.img_size, self.img_size):
            images = F.interpolate(
                images, size=(self.img_size, self.img_size), mode='bicubic', align_corners=False, antialias=True
            ).clamp(0, 1)
        with self.autocast(images.device):
            features = self.patch_features((images - self.mean) / self.std)  # (B, Dt, ht, wt)
        features = features.float()
        if features.shape[-2:] != grid:
            features = F.interpolate(features, size=grid, mode='bilinear', align_corners=False)
        return features.flatten(2).transpose(1, 2)

    def fingerprint(self, with_statistics: bool = True) -> int:
        """A number of 64 bits, signed, that tells apart teachers whose features differ.

        Args:
            with_statistics: false for the number of version 1.0, which left ``mean`` and ``std`` out.
        """
        settings: tuple = (type(self).__name__, self.img_size, getattr(self, 'out_index', None))
        if with_statistics:
            settings += (self.mean.flatten().tolist(), self.std.flatten().tolist())
        digest = hashlib.sha256(f'{settings} {fingerprint(self.module)}'.encode()).digest()
        return int.from_bytes(digest[:8], 'big', signed=True)

    @abstractmethod
    def patch_features(self, images: Tensor) -> Tensor:
        """Features (B, Dt, h, w) of normalized images (B, 3, H, W)."""


def cannot_download(source: str, error: Exception) -> InputError:
    """The error for weights that are out of reach."""
    return InputError(
        f'cannot download the weights of the teacher from {source} ({type(error).__name__}). Download them where there '
        'is a network, and set pretrained of the teacher to the file.'
    )


def check_color_channels(name: str, chosen: Sequence[int], channels: int) -> None:
    """Refuses a setting of this name unless it has three of so many channels, counted from 0."""
    if len(chosen) != 3 or not all(0 <= channel < channels for channel in chosen):
        raise InputError(
            f'{name}={tuple(chosen)} must be three channels, for red, green and blue, between 0 and {channels - 1}'
        )
