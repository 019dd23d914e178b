"""From a batch of uint8 crops to what the network and the tokenizer see, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS

# ITU-R BT.601 luma of R, G, B, as in PIL's conversion to gray.
_LUMA = (0.299, 0.587, 0.114)


class MaskedBatch(TypedDict):
    """What pretraining needs of a batch."""

    images: Tensor  # (B, 3, H, W), normalised for the network
    views: Tensor  # (B, 3, Ht, Wt) in [-1, 1], for the tokenizer
    mask: Tensor  # (B, N) bool
    masked_index: Tensor  # (B, M) int64, the masked patches of each image in rising order


@MODELS.register_module()
class BEiTv2DataPreprocessor(BaseDataPreprocessor):
    """Jitters colours and normalises twice, on the device and in batch: one uint8 crop travels there, once.

    Args:
        mean: per channel of RGB in 0..255, for the network.
        std: likewise.
        view_size: side in pixels of the tokenizer's view; None for the same size as the network's (the paper's).
        to_rgb: the crops are BGR, as mmcv loads them.
        non_blocking: copy to the device without waiting.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        view_size: int | None = None,
        to_rgb: bool = True,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        self.view_size = view_size
        self.to_rgb = to_rgb
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1) / 255, persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1) / 255, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepares a collated batch.

        Args:
            data: ``inputs`` uint8 (B, 3, H, W); ``mask`` (B, N) bool, the same count in each row; optionally
                ``jitter`` (B, 3, 2), see :func:`jitter_colors`.

        Returns:
            ``inputs``: a :class:`MaskedBatch`.
        """
        masked_index = masked_indices(data['mask'])  # on the CPU: on the device it would synchronise
        data = self.cast_data({**data, 'masked_index': masked_index})
        images = self.to_unit(data['inputs'])
        if 'jitter' in data:
            images = jitter_colors(images, data['jitter'])
        views = images
        if self.view_size is not None and images.shape[-2:] != (self.view_size, self.view_size):
            views = F.interpolate(
                images, size=(self.view_size, self.view_size), mode='bicubic', align_corners=False, antialias=True
            ).clamp(0, 1)
        batch = MaskedBatch(
            images=self.normalise(images),
            views=views * 2 - 1,
            mask=data['mask'],
            masked_index=data['masked_index'],
        )
        return {'inputs': batch}

    def to_unit(self, crops: Tensor) -> Tensor:
        """Crops uint8 (B, 3, H, W), as loaded, in [0, 1] RGB."""
        images = crops.float() / 255
        return images.flip(1) if self.to_rgb else images

    def normalise(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] RGB as the network wants them."""
        return (images - self.mean) / self.std


def masked_indices(mask: Tensor) -> Tensor:
    """Positions of the masked patches: (B, N) bool -> (B, M) int64.

    Raises:
        InputError: if the images have different numbers of masked patches.
    """
    counts = mask.sum(dim=1)
    if counts.min() != counts.max():
        raise InputError(
            f'the masks of a batch hide between {int(counts.min())} and {int(counts.max())} patches, but every '
            'image must '
            'hide the same number: use mmbeitv2.BlockMaskGenerator, or give each mask the same count'
        )
    return mask.nonzero()[:, 1].view(len(mask), -1)


def jitter_colors(images: Tensor, jitter: Tensor) -> Tensor:
    """Brightness, contrast and saturation jitter, each image with its own factors and order.

    Does what torchvision's ``ColorJitter`` does: each of the three blends the image with black, with its mean gray, or
    with its own gray picture.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        jitter: (B, 3, 2): three steps in turn, each an operation (0 brightness, 1 contrast, 2 saturation) and a factor.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    luma = images.new_tensor(_LUMA).view(1, 3, 1, 1)
    for step in range(jitter.shape[1]):
        operation, factor = jitter[:, step].view(-1, 2, 1, 1, 1).unbind(1)  # each (B, 1, 1, 1)
        gray = (images * luma).sum(dim=1, keepdim=True)
        contrast, saturation = operation == 1, operation == 2
        other = torch.where(saturation, gray, torch.where(contrast, gray.mean(dim=(2, 3), keepdim=True), 0))
        images = torch.lerp(other.expand_as(images), images, factor.to(images.dtype)).clamp(0, 1)
    return images
