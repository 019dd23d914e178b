"""Pictures of what was learned. Every function takes plain arrays and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)  # no display needed
    return figure


def code_colors(codebook: np.ndarray) -> np.ndarray:
    """A colour per code, (K, 3) in [0, 1], alike for codes that lie close: the first three principal components.

    Args:
        codebook: code vectors (K, D).
    """
    centered = codebook - codebook.mean(axis=0)
    components = centered @ np.linalg.svd(centered, full_matrices=False)[2][:3].T
    ranks = components.argsort(axis=0).argsort(axis=0)
    colors = np.full((len(codebook), 3), 0.5)
    colors[:, : ranks.shape[1]] = ranks / max(1, len(codebook) - 1)
    return colors


def draw_codebook(
    images: np.ndarray, codes: np.ndarray, num_rows: int = 16, num_columns: int = 12, context: int = 1
) -> Figure:
    """Patches that share a code, each framed in its surroundings (paper, figure 4).

    Args:
        images: (n, H, W, 3) uint8 RGB.
        codes: (n, h, w) int.
        num_rows: codes shown: evenly spread from the most used to the least used one.
        num_columns: patches per code, from different images as far as there are some.
        context: patches of surroundings on each side.
    """
    side = images.shape[1] // codes.shape[1]
    used, counts = np.unique(codes, return_counts=True)
    used = used[counts.argsort()[::-1]]
    shown = used[np.unique(np.linspace(0, len(used) - 1, min(num_rows, len(used))).round().astype(int))]
    padded = np.pad(images, ((0, 0), (context * side,) * 2, (context * side,) * 2, (0, 0)), mode='edge')
    window = (2 * context + 1) * side
    figure = _figure(num_columns * 0.7 + 1, len(shown) * 0.7)
    axes = figure.subplots(len(shown), num_columns, squeeze=False)
    rng = np.random.default_rng(0)
    for row, code in zip(axes, shown, strict=True):
        places = rng.permutation(np.argwhere(codes == code))
        _, first = np.unique(places[:, 0], return_index=True)  # one place an image comes first
        places = np.concatenate((places[np.sort(first)], np.delete(places, first, axis=0)))
        for axis, place in zip(row, [*places[:num_columns], *[None] * num_columns], strict=False):
            axis.set_axis_off()
            if place is None:
                continue
            n, top, left = place[0], place[1] * side, place[2] * side
            axis.imshow(padded[n, top : top + window, left : left + window])
            corner = (context * side - 0.5, context * side - 0.5)
            axis.add_patch(Rectangle(corner, side, side, fill=False, edgecolor='red', linewidth=1.5))
        row[0].set_title(f'code {code}, {int((codes == code).sum())} patches', fontsize=6, loc='left')
    return figure


def draw_masks(
    images: np.ndarray, masks: np.ndarray, codes: np.ndarray, predicted: np.ndarray, colors: np.ndarray
) -> Figure:
    """Image, masked image, true codes and predicted codes; hits on masked patches are framed.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        masks: (n, h, w) bool.
        codes: (n, h, w) int, the tokenizer's.
        predicted: (n, h, w) int, the model's; shown where masked, else the true code, faded.
        colors: (K, 3) of the codes.
    """
    figure = _figure(8, 2 * len(images))
    axes = figure.subplots(len(images), 4, squeeze=False)
    for row, image, mask, true, guess in zip(axes, images, masks, codes, predicted, strict=True):
        side = image.shape[0] // mask.shape[0]
        pixels = np.kron(mask, np.ones((side, side), dtype=bool))[..., None]
        true_map, guess_map = colors[true], np.where(mask[..., None], colors[guess], 0.75 + 0.25 * colors[true])
        for axis, picture in zip(row, (image, np.where(pixels, 128, image), true_map, guess_map), strict=True):
            axis.imshow(picture)
            axis.set_axis_off()
        for y, x in np.argwhere(mask & (true == guess)):
            row[3].add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor='black', linewidth=1.5))
        row[3].set_title(f'{(true == guess)[mask].mean():.0%} of {mask.sum()} right', fontsize=8)
    for axis, title in zip(axes[0], ('image', 'masked', 'codes'), strict=False):
        axis.set_title(title, fontsize=8)
    return figure


def draw_segmentations(
    images: Sequence[np.ndarray], labels: Mapping[str, Sequence[np.ndarray]], palette: np.ndarray
) -> Figure:
    """Images beside label maps.

    Args:
        images: each (H, W, 3) uint8 RGB.
        labels: title -> one (H, W) int map per image; 255 is left white.
        palette: (classes, 3) uint8.
    """
    colors = np.full((256, 3), 255, dtype=np.uint8)
    colors[: len(palette)] = palette
    figure = _figure(2 * (1 + len(labels)), 2 * len(images))
    axes = figure.subplots(len(images), 1 + len(labels), squeeze=False)
    for i, (row, image) in enumerate(zip(axes, images, strict=True)):
        for axis, picture in zip(row, (image, *(colors[maps[i]] for maps in labels.values())), strict=True):
            axis.imshow(picture)
            axis.set_axis_off()
    for axis, title in zip(axes[0], ('image', *labels), strict=True):
        axis.set_title(title, fontsize=8)
    return figure


def draw_curves(panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]) -> Figure:
    """Curves, one panel each: title -> name of the curve -> (steps, values)."""
    figure = _figure(4 * len(panels), 3)
    for axis, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name, (steps, values) in curves.items():
            axis.plot(steps, values, label=name)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel('step', fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    return figure
