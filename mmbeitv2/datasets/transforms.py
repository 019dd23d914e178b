"""Transforms of the pretraining pipeline.

Single numbers are drawn by ``random``: NumPy takes some ten times as long for each.
"""

from __future__ import annotations

import random
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, LoadImageFromFile
from PIL import Image

from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.registry import TRANSFORMS

_REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` that names an image it cannot read, and can read large JPEGs at a fraction of size.

    Args:
        min_side: reads a JPEG at 1/2, 1/4 or 1/8 of its size, the least at which its shorter side still has so many
            pixels; None reads all in full. For photographs of many megapixels, of which a crop of 224 pixels needs few:
            with crops of at least a share s of the area, 224 / sqrt(s) (800 for the tokenizer, 500 for pretraining) is
            enough for every crop.
        kwargs: see ``LoadImageFromFile``.
    """

    def __init__(self, min_side: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if min_side is not None and min_side < 1:
            raise InputError(f'min_side={min_side} must be at least 1 pixel, or None')
        self.min_side = min_side
        self._full = self.color_type

    def transform(self, results: dict) -> dict | None:
        try:
            if self.min_side is not None:
                self.color_type = self._reduced(results['img_path'], self.min_side)
            return super().transform(results)
        except Exception as error:
            reason = error if isinstance(error, OSError) else 'it is not an image, or is cut off'
            message = f'image {results["img_path"]!r} cannot be read ({reason}): mend or remove it'
            raise UnreadableImageError(message) from error

    def _reduced(self, path: str, min_side: int) -> str | int:
        """OpenCV's flag for the smallest size allowed."""
        with Image.open(path) as header:  # reads no pixels
            if header.format != 'JPEG':
                return self._full
            side = min(header.size)
        for factor, flag in _REDUCED:
            if side >= factor * min_side:
                return flag
        return self._full


@TRANSFORMS.register_module()
class DrawColorJitter(BaseTransform):
    """Draws the colour jitter of an image, which the data preprocessor then applies on the device, in batch.

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

    Gives ``inputs`` uint8 (3, H, W), ``mask`` bool (N,) and, if it was drawn, ``jitter`` (3, 2).
    """

    def transform(self, results: dict) -> dict:
        packed = {
            'inputs': torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1))),
            'mask': torch.from_numpy(results['mask']),
        }
        if 'jitter' in results:
            packed['jitter'] = torch.from_numpy(results['jitter'])
        return packed
