"""Transforms of the data pipelines.

Single numbers are drawn by ``random``: NumPy takes some ten times as long for each.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import transforms as mmpretrain_transforms
from torch import Tensor

from mmbeitv2.datasets.decoding import MAX_PIXELS, decode_image
from mmbeitv2.datasets.file_backends import read_file, unreadable_image
from mmbeitv2.datasets.resizing import Fit, fit_image, resize
from mmbeitv2.errors import InputError, require_known
from mmbeitv2.registry import TRANSFORMS


@TRANSFORMS.register_module(name=['LoadImage', 'LoadImageFromFile'])
class LoadImage(BaseTransform):
    """Reads an image file, names it in errors, and can read large JPEGs at a fraction of their size.

    Takes ``img_path``, or the bytes in ``img_bytes``, as a dataset of Hugging Face gives them. Adds ``img``, (H, W, 3)
    uint8 BGR (see :func:`mmbeitv2.datasets.decoding.to_rgb` for the types of images), and
    ``img_shape`` and ``ori_shape``, (H, W).

    OpenMMLab's inferencers search the test pipeline for a transform called ``LoadImageFromFile``, which they replace by
    the image that they were given: ``dict(type='LoadImageFromFile', _scope_='mmbeitv2')`` is this one.

    Args:
        min_side: reads a JPEG at 1/2, 1/4 or 1/8 of its size, the smallest at which its shorter side still has this
            many pixels; None reads it at full size. This speeds up loading photographs of many megapixels. No crop is
            enlarged if ``min_side >= size / sqrt(share * aspect)``, where ``share`` is the smallest share of the area
            that a crop has, and ``aspect`` the smallest ratio of its sides: 915 for the tokenizer (crops of 224 pixels,
            0.08 of the area, 3/4), 579 for pretraining (0.2 of the area).
        max_pixels: a larger image counts as unreadable; this is known from the header, before memory is allocated. At
            most the default, which is Pillow's own limit.
        backend_args: of the file backend, see ``mmengine.fileio.get``.

    Raises:
        UnreadableImageError: if the file is missing, empty, truncated, too large, or not an image.
    """

    def __init__(
        self, min_side: int | None = None, max_pixels: int = MAX_PIXELS, backend_args: dict | None = None
    ) -> None:
        if min_side is not None and min_side < 1:
            raise InputError(f'min_side={min_side} must be at least 1 pixel, or None')
        if not 1 <= max_pixels <= MAX_PIXELS:
            raise InputError(f'max_pixels={max_pixels} must lie between 1 and {MAX_PIXELS}')
        self.min_side = min_side
        self.max_pixels = max_pixels
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        path = str(results['img_path'])
        content = results.pop('img_bytes', None)  # of a table
        try:
            results['img'] = self.decode(read_file(path, self.backend_args) if content is None else content)
        except (OSError, ValueError) as error:
            raise unreadable_image(path, error) from error
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results

    def decode(self, content: bytes) -> np.ndarray:
        """The pixels of an image file."""
        return decode_image(content, self.min_side, self.max_pixels)


@TRANSFORMS.register_module()
class RandomResizedCrop(mmpretrain_transforms.RandomResizedCrop):
    """mmpretrain's ``RandomResizedCrop`` with the resampling of the release, see :func:`resizing.resize`.

    Args:
        scale: height and width of the result, or the side of a square.
        crop_ratio_range: range of the crop's share of the area.
        aspect_ratio_range: range of the crop's width divided by its height.
        max_attempts: number of attempts to draw a crop that fits into the image, before a center crop is used.
    """

    def __init__(
        self,
        scale: int | Sequence[int],
        crop_ratio_range: tuple[float, float] = (0.08, 1.0),
        aspect_ratio_range: tuple[float, float] = (3 / 4, 4 / 3),
        max_attempts: int = 10,
    ) -> None:
        super().__init__(scale, tuple(crop_ratio_range), tuple(aspect_ratio_range), max_attempts, 'bicubic')

    def transform(self, results: dict) -> dict:
        top, left, height, width = self.rand_crop_params(results['img'])
        crop = to_tensor(results['img'][top : top + height, left : left + width])
        return _set_image(results, resize(crop, tuple(self.scale)))


@TRANSFORMS.register_module()
class FitImage(BaseTransform):
    """Brings an image to a fixed size without randomness, for evaluation: see :func:`fit_image`.

    Args:
        scale: height and width of the result, or the side of a square.
        fit: ``'crop'`` scales the image until it just covers ``scale`` and cuts out the middle; ``'stretch'`` scales
            both sides.
    """

    def __init__(self, scale: int | Sequence[int], fit: Fit = 'crop') -> None:
        require_known(('fit', fit, Fit))
        height, width = (scale, scale) if isinstance(scale, int) else scale
        self.scale = (height, width)
        self.fit: Fit = fit

    def transform(self, results: dict) -> dict:
        return _set_image(results, fit_image(to_tensor(results['img']), self.scale, self.fit))


def to_tensor(img: np.ndarray) -> Tensor:
    """An image (H, W, C) as (C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(img)).permute(2, 0, 1)


def _set_image(results: dict, pixels: Tensor) -> dict:
    """Stores (C, H, W) as (H, W, C)."""
    results['img'] = pixels.permute(1, 2, 0).numpy()
    results['img_shape'] = results['img'].shape[:2]
    return results


@TRANSFORMS.register_module()
class DrawColorJitter(BaseTransform):
    """Draws the color jitter parameters of an image; the data preprocessor applies them on the device, in batch.

    Adds ``jitter``, (3, 2) float32: three steps in random order, each an operation (0 brightness, 1 contrast,
    2 saturation) and a factor. Distributed as in torchvision's ``ColorJitter``.

    Args:
        brightness: factors are uniform in [1 - brightness, 1 + brightness], not below 0.
        contrast: likewise.
        saturation: likewise.
    """

    def __init__(self, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4) -> None:
        self.strengths = (brightness, contrast, saturation)

    def transform(self, results: dict) -> dict:
        results['jitter'] = np.array(
            [
                (operation, random.uniform(max(1 - self.strengths[operation], 0), 1 + self.strengths[operation]))
                for operation in random.sample(range(3), 3)
            ],
            dtype=np.float32,
        )
        return results


@TRANSFORMS.register_module()
class PackMaskedImage(BaseTransform):
    """Keeps what :class:`BEiTv2DataPreprocessor` needs, as tensors that a worker can collate.

    Returns ``inputs`` (C, H, W) uint8 or float32, ``mask`` bool (N,) and, if it was drawn, ``jitter`` (3, 2).
    """

    def transform(self, results: dict) -> dict:
        packed = {
            'inputs': torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1))),
            'mask': torch.from_numpy(results['mask']),
        }
        if 'jitter' in results:
            packed['jitter'] = torch.from_numpy(results['jitter'])
        return packed
