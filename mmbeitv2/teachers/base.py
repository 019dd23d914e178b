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
from mmbeitv2.teachers.standardization import Standardization, Standardize


class FrozenTeacher(Frozen):
    """Base of the teachers: input size, normalization, precision and standardization here, features in the subclass.

    Args:
        module: the network.
        embed_dims: width Dt of its features.
        img_size: side in pixels of the square input images.
        mean: per channel, for images in [0, 1].
        std: likewise.
        precision: of the network's products under autocast, see :class:`Frozen`.
        standardize: how to take out of the features what all of them share, see :class:`Standardization`: ``'std'``,
            ``'whiten'``, or None for the features as they are.
        standardize_batches: how many batches, at the start of the training, are measured for it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        module: nn.Module,
        embed_dims: int,
        img_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        precision: Precision = 'float16',
        standardize: Standardize | None = None,
        standardize_batches: int = 20,
    ) -> None:
        super().__init__(module, precision)
        self.embed_dims, self.img_size = embed_dims, img_size
        self.standardization: Standardization | None = None
        if standardize is not None:
            self.standardization = Standardization(embed_dims, standardize, standardize_batches)
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Features of each patch.

        Args:
            images: (B, 3, H, W) in [0, 1].
            grid: patches (h, w) of the tokenizer, to which the features are resampled.

        Returns:
            (B, h·w, Dt) float32, not scaled to unit length.
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
        features = features.flatten(2).transpose(1, 2)  # (B, Dt, h, w) -> (B, N, Dt)
        return features if self.standardization is None else self.standardization(features)

    def fingerprint(self, with_statistics: bool = True) -> int:
        """A number of 64 bits, signed, that tells apart teachers whose features differ.

        What ``standardize`` has measured is not in it, but in the state dict of the tokenizer.

        Args:
            with_statistics: false for the number of version 1.0, which left ``mean`` and ``std`` out.
        """
        settings: tuple = (type(self).__name__, self.img_size, getattr(self, 'out_index', None))
        if with_statistics:
            settings += (self.mean.flatten().tolist(), self.std.flatten().tolist())
        if self.standardization is not None:
            settings += (self.standardization.method,)
        digest = hashlib.sha256(f'{settings} {fingerprint(self.module)}'.encode()).digest()
        return int.from_bytes(digest[:8], 'big', signed=True)

    @abstractmethod
    def patch_features(self, images: Tensor) -> Tensor:
        """Features (B, Dt, h, w) of normalized images (B, 3, H, W)."""


def cannot_build(model: str, pretrained: object, error: Exception, address: str | None) -> InputError:
    """The error for a model that does not exist, or weights that cannot be loaded into it.

    Args:
        model: name.
        pretrained: setting of the teacher.
        error: what the library raised.
        address: from which it would have downloaded the weights; None for a file.
    """
    reason = ' '.join(str(error).split())[:300]
    remedy = 'Correct one of them.'
    if address is not None:
        remedy = f'Where there is a network, download {address}, and set pretrained of the teacher to the file.'
    kind = type(error).__name__
    return InputError(f'cannot build the teacher {model!r} with pretrained={pretrained!r} ({kind}: {reason}). {remedy}')


def check_color_channels(name: str, chosen: Sequence[int], channels: int) -> None:
    """Refuses a setting of this name unless it has three of so many channels, counted from 0."""
    if len(chosen) != 3 or not all(0 <= channel < channels for channel in chosen):
        raise InputError(
            f'{name}={tuple(chosen)} must be three channels, for red, green and blue, between 0 and {channels - 1}'
        )
