"""Resizes images in every stage: bicubic with antialiasing, like PIL, which the release uses.

torch's kernel for uint8 gives PIL's pixels in less time; OpenCV's bicubic has no antialiasing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Fit = Literal['crop', 'stretch']
# An image that is longer than this, in units of the wanted side, loses its ends before it is resized.
_MAX_ASPECT = 4


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes an image (C, H, W), uint8 or floating point, to ``size`` (height, width).

    Bicubic interpolation overshoots at edges: uint8 images are clipped to 0 and 255, and each channel of a
    floating-point image to its minimum and maximum.
    """
    if pixels.shape[-2:] == size:
        return pixels
    resized = F.interpolate(pixels[None], size=size, mode='bicubic', antialias=True)[0]
    if not pixels.is_floating_point():
        return resized
    return resized.clamp(pixels.amin(dim=(1, 2), keepdim=True), pixels.amax(dim=(1, 2), keepdim=True))


def fit_image(pixels: Tensor, size: tuple[int, int], fit: Fit) -> Tensor:
    """Brings an image (C, H, W), uint8 or floating point, to ``size`` (height, width).

    Args:
        pixels: the image.
        size: height and width wanted.
        fit: ``'crop'`` scales the image until it just covers ``size`` and cuts out the middle; ``'stretch'`` scales
            both sides.
    """
    if fit == 'stretch':
        return resize(pixels, size)
    height, width = pixels.shape[-2:]
    scale = max(size[0] / height, size[1] / width)
    # A strip of 1x20000 pixels would first become 224x4,480,000.
    pixels = _middle(pixels, [math.ceil(_MAX_ASPECT * side / scale) for side in size])
    height, width = pixels.shape[-2:]
    if size[0] * width >= size[1] * height:  # rounded as by torchvision
        scaled = (size[0], size[0] * width // height)
    else:
        scaled = (size[1] * height // width, size[1])
    return _middle(resize(pixels, scaled), size)


def _middle(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """Cuts out the middle (height, width), or less where the image is smaller."""
    top, left = (max(round((have - want) / 2), 0) for have, want in zip(pixels.shape[-2:], size, strict=True))
    return pixels[:, top : top + size[0], left : left + size[1]]
