"""Pictures of segmentations: label maps with a legend, and confusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mmbeitv2.visualization.pictures import new_figure, show

# Longer side of a label map as it is drawn, in pixels.
SIDE = 480
# A matrix of more classes has no numbers in its cells.
_MAX_NUMBERED = 25


def draw_segmentations(
    images: Sequence[np.ndarray],
    labels: Mapping[str, Sequence[np.ndarray]],
    classes: Sequence[str],
    palette: np.ndarray,
    captions: Sequence[str] | None = None,
) -> Figure:
    """Images beside label maps, a row for each image, and a legend of the classes that occur.

    Args:
        images: each (H, W, 3) uint8 RGB.
        labels: title -> one (H, W) int map per image; what is no class, as 255, is left white.
        classes: names.
        palette: (classes, 3) uint8.
        captions: title of each image; None for ``image`` above the first.
    """
    rows = [
        [fit_side(image), *(paint_labels(image, maps[i], classes, palette) for maps in labels.values())]
        for i, image in enumerate(images)
    ]
    present = np.unique(np.concatenate([np.unique(label) for maps in labels.values() for label in maps]))
    present = present[(present >= 0) & (present < len(classes))]
    names = [classes[i] for i in present]
    width = 3.2 * len(rows[0])
    num_columns = max(1, min(len(names), int(width / (0.45 + 0.075 * max(map(len, names), default=1)))))
    num_lines = -(-len(names) // num_columns)
    heights = [3.2 * row[0].shape[0] / SIDE + 0.25 for row in rows]
    figure = new_figure(width, sum(heights) + 0.17 * num_lines + 0.1)
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False, height_ratios=heights)
    for i, (line, row) in enumerate(zip(axes, rows, strict=True)):
        for axis, picture in zip(line, row, strict=True):
            show(axis, picture)
        if captions is not None:
            line[0].set_title(captions[i], fontsize=8, parse_math=False)
    titles = labels if captions is not None else ('image', *labels)
    for axis, title in zip(axes[0, len(axes[0]) - len(titles) :], titles, strict=True):
        axis.set_title(title, fontsize=8, parse_math=False)
    patches = [Patch(facecolor=palette[i] / 255, edgecolor='gray', linewidth=0.5) for i in present]
    legend = figure.legend(patches, names, loc='outside lower center', ncols=num_columns, fontsize=7, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def fit_side(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) whose longer side is ``SIDE`` pixels."""
    scale = SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def paint_labels(
    image: np.ndarray, labels: np.ndarray, classes: Sequence[str], palette: np.ndarray, alpha: float = 0.65
) -> np.ndarray:
    """An image in the colors of its classes.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) int; what is no class, as 255, becomes white.
        palette: (classes, 3) uint8.
        alpha: weight of the colors against the image, in [0, 1].

    Returns:
        (h, w, 3) uint8 RGB, ``SIDE`` pixels on its longer side.
    """
    base = fit_side(image)
    size = (base.shape[1], base.shape[0])
    known = np.where((labels >= 0) & (labels < len(classes)), labels, len(classes)).astype(np.int16)
    known = np.asarray(cv2.resize(known, size, interpolation=cv2.INTER_NEAREST), dtype=np.int16)
    colors = np.concatenate((palette, palette[:1])).astype(np.float32)[known]
    blended = (base * (1 - alpha) + colors * alpha).round().astype(np.uint8)
    blended[known == len(classes)] = 255
    return blended


def draw_confusion(classes: Sequence[str], shares: np.ndarray) -> Figure:
    """The share of each true class (row) that is taken for each class (column).

    Args:
        classes: names.
        shares: (classes, classes) in [0, 1]; a row of NaN, of a class without pixels, is gray.
    """
    count = len(classes)
    is_numbered = count <= _MAX_NUMBERED
    cell = 0.36 if is_numbered else 0.12
    figure = new_figure(3 + cell * count, 2.4 + cell * count)
    axis = figure.subplots()
    axis.set_facecolor('lightgray')
    shown = axis.imshow(100 * shares, cmap='Blues', vmin=0, vmax=100)
    bar = figure.colorbar(shown, ax=axis, shrink=0.6)
    bar.set_label('percent of the pixels of the true class', fontsize=8)
    bar.ax.tick_params(labelsize=7)
    size = 8 if is_numbered else 6
    axis.set_xticks(range(count), classes, rotation=90, fontsize=size, parse_math=False)
    axis.set_yticks(range(count), classes, fontsize=size, parse_math=False)
    axis.set_xlabel('predicted class', fontsize=9)
    axis.set_ylabel('true class', fontsize=9)
    if is_numbered:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:  # smaller ones would read 0
                color = 'white' if share > 0.55 else 'black'
                axis.text(column, row, f'{100 * share:.0f}', fontsize=7, ha='center', va='center', color=color)
    return figure
