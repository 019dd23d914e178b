"""Transforms of the pretraining pipeline.

Single numbers are drawn by ``random``: NumPy takes some ten times as long for each.
"""

from __future__ import annotations

import math
import random
from abc import abstractmethod
from collections.abc import Sequence
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


class MaskGenerator(BaseTransform):
    """Base of the masks: adds ``mask``, (h·w,) bool, with exactly ``num_masked`` true patches.

    Args:
        grid_size: patches (h, w) of the crop, or the side of a square grid.
        num_masked: patches to hide.
    """

    def __init__(self, grid_size: int | Sequence[int] = 14, num_masked: int = 75) -> None:
        self.height, self.width = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
        if not 0 < num_masked < self.height * self.width:
            raise InputError(
                f'num_masked={num_masked} must lie between 0 and the {self.height * self.width} patches of the grid'
            )
        self.num_masked = num_masked

    def transform(self, results: dict) -> dict:
        results['mask'] = self.draw().flatten()
        return results

    @abstractmethod
    def draw(self) -> np.ndarray:
        """A mask (h, w) bool with exactly ``num_masked`` true patches."""


@TRANSFORMS.register_module()
class BlockMaskGenerator(MaskGenerator):
    """Hides blocks of patches until exactly ``num_masked`` are hidden (BEiT, algorithm 1; paper, appendix E).

    Adds ``mask``, (h·w,) bool.

    Args:
        grid_size: patches (h, w) of the crop, or the side of a square grid.
        num_masked: patches to hide: 75 of 196 in the paper.
        min_block: least patches in a block.
        min_aspect: least ratio of height and width of a block; the largest is its inverse.
    """

    def __init__(
        self, grid_size: int | Sequence[int] = 14, num_masked: int = 75, min_block: int = 16, min_aspect: float = 0.3
    ) -> None:
        super().__init__(grid_size, num_masked)
        if not 0 < min_aspect <= 1:
            raise InputError(f'min_aspect={min_aspect} must lie in (0, 1]')
        self.min_block = min_block
        self.log_aspect = (math.log(min_aspect), -math.log(min_aspect))

    def draw(self) -> np.ndarray:
        """A mask (h, w) bool with exactly ``num_masked`` true patches."""
        mask = np.zeros((self.height, self.width), dtype=bool)
        missing = self.num_masked
        while missing > 0 and (added := self._add_block(mask, missing)) > 0:
            missing -= added
        if missing > 0:  # ten blocks in a row did not fit: fill up with single patches, as the reference does
            free = np.flatnonzero(~mask)
            mask.flat[random.sample(free.tolist(), missing)] = True
        return mask

    def _add_block(self, mask: np.ndarray, missing: int) -> int:
        """Hides one block that adds at most ``missing`` patches; the number it added, 0 if none fitted."""
        for _ in range(10):
            area = random.uniform(self.min_block, max(missing, self.min_block))
            aspect = math.exp(random.uniform(*self.log_aspect))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if not (0 < h < self.height and 0 < w < self.width):
                continue
            top, left = random.randint(0, self.height - h), random.randint(0, self.width - w)
            block = mask[top : top + h, left : left + w]
            added = h * w - int(np.count_nonzero(block))
            if 0 < added <= missing:
                block[:] = True
                return added
        return 0


@TRANSFORMS.register_module()
class RandomMaskGenerator(MaskGenerator):
    """Hides ``num_masked`` single patches at random, for comparison with blocks. Adds ``mask``, (h·w,) bool.

    Args:
        grid_size: patches (h, w) of the crop, or the side of a square grid.
        num_masked: patches to hide.
    """

    def draw(self) -> np.ndarray:
        """A mask (h, w) bool with exactly ``num_masked`` true patches."""
        mask = np.zeros(self.height * self.width, dtype=bool)
        mask[random.sample(range(len(mask)), self.num_masked)] = True
        return mask.reshape(self.height, self.width)


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
