"""Turns a batch of crops into the inputs of the network and the tokenizer, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS
from mmbeitv2.teachers import check_color_channels

# ITU-R BT.601 luma of R, G, B, as in PIL's conversion to gray.
_LUMA = (0.299, 0.587, 0.114)


class MaskedBatch(TypedDict):
    """A batch for pretraining."""

    images: Tensor  # (B, C, H, W), normalized for the network
    views: Tensor  # (B, C, Ht, Wt) in [-1, 1], for the tokenizer
    mask: Tensor  # (B, N) bool
    masked_index: Tensor  # (B, M) int64, the masked patches of each image in rising order


@MODELS.register_module()
class BEiTv2DataPreprocessor(BaseDataPreprocessor):
    """Applies color jitter and both normalizations on the device, in batch, so that each crop is copied there only
    once.

    For images of other channels than RGB (``mmbeitv2.LoadChannels``), ``mean`` and ``std`` have as many entries as
    there are channels, in the values of the files, and ``to_rgb=False``. ``value_range`` holds the values of a channel
    that become -1 and 1 for the tokenizer; values outside the range are not clipped. Only ``color_channels`` are
    jittered, clipped to their range; the other channels are not changed.

    Args:
        mean: per channel, for the network; of RGB in 0..255.
        std: likewise, above 0.
        view_size: side in pixels of the tokenizer's view; None for the same size as the network's view (as in the
            paper).
        to_rgb: the crops are BGR, as mmcv loads them; for three channels only.
        value_range: minimum and maximum, one pair for all channels or one for each. ``tools/channel_statistics.py``
            computes them.
        color_channels: indices of red, green and blue, counted from 0; None means (0, 1, 2) for three channels, and no
            color channels otherwise.

    Raises:
        InputError: if the settings do not fit one another.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    span: Tensor

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        view_size: int | None = None,
        to_rgb: bool = True,
        value_range: Sequence[float] | Sequence[Sequence[float]] = (0.0, 255.0),
        color_channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__(non_blocking=True)
        channels = len(mean)
        check_statistics(mean, std)
        if to_rgb and channels != 3:
            raise InputError(f'to_rgb=True needs three channels, but mean has {channels}. Set to_rgb=False.')
        if color_channels is None and channels == 3:
            color_channels = (0, 1, 2)
        if color_channels is not None:
            check_color_channels('color_channels', color_channels, channels)
            if len(set(color_channels)) < 3:
                raise InputError(f'color_channels={color_channels} must be three different channels')
        self.view_size = view_size
        self.to_rgb = to_rgb
        self.color_channels = None if color_channels is None else list(color_channels)
        ranges = np.array(value_range, dtype=np.float32)
        if ranges.shape not in ((2,), (channels, 2)) or not (ranges[..., 0] < ranges[..., 1]).all():
            raise InputError(
                f'value_range={value_range} must be (minimum, maximum), one pair for all {channels} channels or one '
                'pair for each'
            )
        self.is_8_bit = bool((ranges == (0, 255)).all())
        low, high = torch.tensor(np.broadcast_to(ranges, (channels, 2))).unbind(1)
        for name, values in (
            ('low', low),
            ('span', high - low),
            ('mean', (torch.tensor(mean) - low) / (high - low)),
            ('std', torch.tensor(std) / (high - low)),
        ):
            self.register_buffer(name, values.view(1, -1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepares a collated batch.

        Args:
            data: ``inputs`` (B, C, H, W), uint8 or float32; ``mask`` (B, N) bool, the same count in each row;
                optionally ``jitter`` (B, 3, 2), see :func:`jitter_colors`.

        Returns:
            ``inputs``: a :class:`MaskedBatch`. Without ``mask``, as tools of mmpretrain call it, all of ``data``, with
            ``inputs`` normalized for the network.
        """
        if 'mask' not in data:
            data = self.cast_data(data)
            return {**data, 'inputs': self.normalize(self.to_unit(data['inputs']))}
        masked_index = masked_indices(data['mask'])  # on the CPU: on the device it would synchronize
        data = self.cast_data({**data, 'masked_index': masked_index})
        images = self.to_unit(data['inputs'])
        if 'jitter' in data:
            images = self._jitter(images, data['jitter'])
        views = images
        if self.view_size is not None and images.shape[-2:] != (self.view_size, self.view_size):
            views = F.interpolate(
                images, size=(self.view_size, self.view_size), mode='bicubic', align_corners=False, antialias=True
            )
            views = views.clamp(0, 1) if self.is_8_bit else views
        batch = MaskedBatch(
            images=self.normalize(images),
            views=views * 2 - 1,
            mask=data['mask'],
            masked_index=data['masked_index'],
        )
        return {'inputs': batch}

    def to_unit(self, crops: Tensor) -> Tensor:
        """Crops (B, C, H, W), as loaded, with their range as [0, 1]; RGB if ``to_rgb``."""
        images = crops.float() / 255 if self.is_8_bit else (crops.float() - self.low) / self.span
        return images.flip(1) if self.to_rgb else images

    def normalize(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) of :meth:`to_unit` as the network wants them."""
        return (images - self.mean) / self.std

    def _jitter(self, images: Tensor, jitter: Tensor) -> Tensor:
        if self.color_channels == [0, 1, 2] and images.shape[1] == 3 and self.is_8_bit:
            return jitter_colors(images, jitter)
        if self.color_channels is None:
            raise InputError(
                'the pipeline draws color jitter, but the images have no color channels. Set color_channels of the '
                'data preprocessor to the red, green and blue channels, or remove DrawColorJitter.'
            )
        jittered = jitter_colors(images[:, self.color_channels].clamp(0, 1), jitter)
        return images.index_copy(1, torch.tensor(self.color_channels, device=images.device), jittered)


def check_statistics(mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuses statistics of channels that cannot normalize an image."""
    if len(mean) != len(std) or not mean:
        raise InputError(
            f'mean has {len(mean)} entries, but std has {len(std)}. Both need one entry for each channel of the images.'
        )
    for channel, value in enumerate(std):
        if not value > 0:
            raise InputError(
                f'std of channel {channel} is {value}, but must be above 0. Leave out a channel that is constant, or '
                'set its std to 1.'
            )


def masked_indices(mask: Tensor) -> Tensor:
    """Positions of the masked patches: (B, N) bool -> (B, M) int64.

    Raises:
        InputError: if the images have different numbers of masked patches.
    """
    counts = mask.sum(dim=1)
    if counts.min() != counts.max():
        raise InputError(
            f'the masks of a batch hide between {int(counts.min())} and {int(counts.max())} patches, but must hide '
            'the same number in every image. Use mmbeitv2.BlockMaskGenerator, or a mask generator with a fixed '
            'number.'
        )
    return mask.nonzero()[:, 1].view(len(mask), -1)


def jitter_colors(images: Tensor, jitter: Tensor) -> Tensor:
    """Brightness, contrast and saturation jitter, each image with its own factors and order.

    Equals torchvision's ``ColorJitter``: the three operations blend the image with black, with its mean gray value, or
    with its grayscale version.

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
