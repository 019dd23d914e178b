"""Masks of the patches that pretraining hides.

Single numbers are drawn by ``random``: NumPy takes some ten times as long for each.
"""

from __future__ import annotations

import math
import random
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmbeitv2.errors import InputError
from mmbeitv2.registry import TRANSFORMS


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

    As in the release, no more blocks are drawn when ten in a row do not fit; single patches then fill the mask, which
    happens in a third of the masks. Adds ``mask``, (h·w,) bool.

    Args:
        grid_size: patches (h, w) of the crop, or the side of a square grid.
        num_masked: patches to hide: 75 of 196 in the paper.
        min_block: smallest area of a block in patches, as long as that many are still missing; the last blocks of a
            mask may be smaller.
        min_aspect: smallest ratio of height and width of a block; the largest is its inverse.
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
        mask = np.zeros((self.height, self.width), dtype=bool)
        missing = self.num_masked
        while missing > 0 and (added := self._add_block(mask, missing)) > 0:
            missing -= added
        if missing > 0:
            free = np.flatnonzero(~mask)
            mask.flat[random.sample(free.tolist(), missing)] = True
        return mask

    def _add_block(self, mask: np.ndarray, missing: int) -> int:
        """Hides one block that adds at most ``missing`` patches; the number it added, 0 if none fitted."""
        for _ in range(10):
            area = random.uniform(self.min_block, missing)  # takes its ends in either order
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
        mask = np.zeros(self.height * self.width, dtype=bool)
        mask[random.sample(range(len(mask)), self.num_masked)] = True
        return mask.reshape(self.height, self.width)
