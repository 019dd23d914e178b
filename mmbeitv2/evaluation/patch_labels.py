"""A label for each patch of an image: the segment that most of its pixels lie in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from mmbeitv2.datasets.resizing import Fit
from mmbeitv2.inference.visual_tokenizer import to_tensor
from mmbeitv2.segmentation.seg_labels import IGNORED, read_labels

NO_LABEL = -1


def segment_labels(
    files: dict[str, str],
    folder: Path,
    grid: tuple[int, int],
    fit: Fit,
    ignored: Sequence[int],
    read: Callable[[str], Tensor] = to_tensor,
) -> np.ndarray:
    """Labels (n, N) of patches by label images, (H, W) of whole numbers in 0 to 255, one for each image.

    Args:
        files: the images, see :func:`image_files`; the label image of ``a/1.jpg`` is ``a/1.png`` in ``folder``.
        folder: of the label images.
        grid: patches (h, w).
        fit: how the images get the tokenizer's size.
        ignored: labels that mean "none".
        read: gives an image, (C, H, W).

    Raises:
        InputError: naming the label image that is missing, cannot be read, or does not have the size of its image.
    """
    labels = []
    for path, place in files.items():
        shape = tuple(read(place).shape[1:])  # turned by its EXIF tag, as the tokenizer sees it
        labels.append(read_labels(str((folder / path).with_suffix('.png')), shape))
    return np.stack([_majority(each, grid, fit, ignored) for each in labels])


def _majority(labels: np.ndarray, grid: tuple[int, int], fit: Fit, ignored: Sequence[int]) -> np.ndarray:
    """The commonest label of each patch, (h·w,)."""
    if fit == 'crop':  # the middle, in the shape of the grid
        height, width = labels.shape
        scale = max(grid[0] / height, grid[1] / width)
        wanted = [max(round(side / scale), 1) for side in grid]
        top, left = ((have - want) // 2 for have, want in zip(labels.shape, wanted, strict=True))
        labels = labels[top : top + wanted[0], left : left + wanted[1]]
    row, column = (
        ((np.arange(pixels) + 0.5) * patches / pixels).astype(int)
        for pixels, patches in zip(labels.shape, grid, strict=True)
    )
    counts = np.zeros((*grid, 256), np.int64)
    np.add.at(counts, (row[:, None], column, labels), 1)
    counts[..., [*ignored, IGNORED]] = 0
    return np.where(counts.any(axis=-1), counts.argmax(axis=-1), NO_LABEL).ravel()
