"""Pictures of segmentations: label maps with a legend, and confusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from sklearn.metrics import ConfusionMatrixDisplay

from mmbeitv2.visualization.pictures import Pictures, draw_grid, new_figure

# A matrix of more classes has no numbers in its cells.
_MAX_NUMBERED = 25


def draw_segmentations(
    images: Sequence[np.ndarray],
    labels: Mapping[str, Sequence[np.ndarray]],
    classes: Sequence[str],
    palette: np.ndarray,
    title: str = 'image',
) -> Figure:
    """Images beside label maps, a row for each image, and a legend of the classes that occur.

    Args:
        images: each (H, W, 3) uint8 RGB.
        labels: title -> one (H, W) int map per image; what is no class, as 255, is left white.
        classes: names.
        palette: (classes, 3) uint8.
        title: of the images.
    """
    columns: dict[str, Pictures] = {title: images}
    for name, maps in labels.items():
        columns[name] = [paint_labels(*pair, palette) for pair in zip(images, maps, strict=True)]
    figure, _ = draw_grid(columns, width=3.2)
    found = np.unique(np.concatenate([np.unique(label) for maps in labels.values() for label in maps]))
    present = [i for i in found if 0 <= i < len(classes)]
    names = [classes[i] for i in present]
    longest = max(map(len, names), default=1)
    num_columns = max(1, min(len(names), int(figure.get_figwidth() / (0.45 + 0.075 * longest))))
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.17 * -(-len(names) // num_columns))
    patches = [Patch(facecolor=palette[i] / 255, edgecolor='gray', linewidth=0.5) for i in present]
    legend = figure.legend(patches, names, loc='outside lower center', ncols=num_columns, fontsize=7, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def paint_labels(image: np.ndarray, labels: np.ndarray, palette: np.ndarray, alpha: float = 0.65) -> np.ndarray:
    """An image in the colors of its classes, (H, W, 3) uint8 RGB.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) int; what is no class, as 255, becomes white.
        palette: (classes, 3) uint8.
        alpha: weight of the colors against the image, in [0, 1].
    """
    is_class = (labels >= 0) & (labels < len(palette))
    blended = image * (1 - alpha) + palette[np.where(is_class, labels, 0)] * alpha
    return np.where(is_class[..., None], blended.round(), 255).astype(np.uint8)


def draw_confusion(classes: Sequence[str], shares: np.ndarray) -> Figure:
    """The share of each true class (row) that is taken for each class (column).

    Args:
        classes: names.
        shares: (classes, classes) in [0, 1]; a row of NaN, of a class without pixels, is drawn as zeros.
    """
    count = len(classes)
    is_numbered = count <= _MAX_NUMBERED
    cell = 0.36 if is_numbered else 0.12
    figure = new_figure(3 + cell * count, 2.4 + cell * count)
    axis = figure.subplots()
    display = ConfusionMatrixDisplay(np.nan_to_num(100 * shares), display_labels=range(count))
    settings: dict[str, Any] = dict(values_format='.0f', im_kw=dict(vmin=0), text_kw=dict(fontsize=7))
    display.plot(ax=axis, cmap='Blues', include_values=is_numbered, **settings)
    names: dict[str, Any] = dict(labels=classes, fontsize=8 if is_numbered else 6, parse_math=False)
    axis.set_xticks(range(count), **names, rotation=90)
    axis.set_yticks(range(count), **names)
    axis.set(xlabel='predicted class', ylabel='true class', title='percent of the pixels of the true class')
    return figure
