"""Pictures of what was learned: plain arrays become matplotlib figures, and figures files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from torch import Tensor

from mmbeitv2.datasets import image_files
from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS
from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.interfaces import Tokenizer

# Side in pixels of a patch with its surroundings.
_TILE = 80

Pictures = Sequence[np.ndarray] | np.ndarray  # each (H, W, 3) RGB: uint8, or floats in [0, 1]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, which needs no display."""
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def show(axis: Axes, picture: np.ndarray, title: str | None = None, **options: Any) -> None:
    """Shows a picture without axes, below a title whose ``$`` is no formula."""
    axis.imshow(picture, **options)
    axis.set_axis_off()
    if title is not None:
        axis.set_title(title, fontsize=8, parse_math=False)


def draw_grid(columns: Mapping[str, Pictures], width: float = 2) -> tuple[Figure, np.ndarray]:
    """Pictures in columns of a width in inches, below their titles.

    Args:
        columns: title -> pictures, of one size.
        width: of a column.

    Returns:
        The figure, and its axes (pictures, columns).
    """
    first = next(iter(columns.values()))
    height = width * first[0].shape[0] / first[0].shape[1]
    figure = new_figure(width * len(columns), height * len(first) + 0.3)
    axes = figure.subplots(len(first), len(columns), squeeze=False)
    for column, (title, pictures) in zip(axes.T, columns.items(), strict=True):
        for axis, picture in zip(column, pictures, strict=True):
            show(axis, picture)
        column[0].set_title(title, fontsize=8, parse_math=False)
    return figure, axes


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


def encode_figure(figure: Figure, kind: str = 'png', dpi: int = 100) -> bytes:
    """A figure as the content of a file of this format."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=dpi, format=kind)
    return buffer.getvalue()


def write_picture(figure: Figure, path: Path, dpi: int) -> None:
    """Writes a figure, whole or not at all, in the format that the path's suffix names."""
    AtomicBackend().put(encode_figure(figure, path.suffix[1:].lower(), dpi), path)


def choose_files(
    folder: Path, count: int, seed: int = 0, extensions: Sequence[str] = IMAGE_EXTENSIONS
) -> dict[str, str]:
    """Some images of a folder, at random: by their paths below it, where they are read; see :func:`image_files`."""
    files = image_files(folder, extensions)
    return {path: files[path] for path in np.random.default_rng(seed).permutation(list(files))[:count].tolist()}


def code_colors(tokenizer: Tokenizer) -> np.ndarray:
    """A color per code, (K, 3) in [0, 1], alike for codes whose vectors lie close; random if they have no vectors."""
    if not hasattr(tokenizer, 'lookup'):
        return np.random.default_rng(0).random((tokenizer.num_codes, 3))
    device = next((buffer.device for buffer in tokenizer.state_dict().values()), None)  # type: ignore[attr-defined]
    with torch.inference_mode():
        colors, _ = principal_colors(tokenizer.lookup(torch.arange(tokenizer.num_codes, device=device)).cpu())
    return colors.argsort(axis=0).argsort(axis=0) / max(1, len(colors) - 1)  # spread over the whole range


def principal_colors(features: Tensor) -> tuple[np.ndarray, float]:
    """The first three principal components of vectors, of patches or codes, as red, green and blue.

    Args:
        features: (..., C).

    Returns:
        Colors (..., 3) in [0, 1], and the share of the variance that the components hold. The sign of a component
        is the one in which its largest weight is positive.
    """
    rows = features.double().flatten(0, -2).numpy()
    # Of the covariance, which is small however many patches there are, and needs no random numbers.
    pca = PCA(min(3, *rows.shape), svd_solver='covariance_eigh')
    with np.errstate(invalid='ignore'):  # features that do not vary at all
        components = pca.fit_transform(rows)
    low, high = np.percentile(components, (1, 99), axis=0)  # a few extremes leave the others their contrast
    spread = high - low
    colors = np.full((len(components), 3), 0.5)  # of a component that does not vary, or does not exist
    varies = spread > 1e-9 * max(float(spread.max()), 1e-30)
    colors[:, : len(spread)][:, varies] = ((components - low)[:, varies] / spread[varies]).clip(0, 1)
    share = float(np.nan_to_num(pca.explained_variance_ratio_.sum()))
    return colors.reshape(*features.shape[:-1], 3), share


def codes_by_use(codes: np.ndarray) -> np.ndarray:
    """The codes that occur, the most used one first."""
    used, counts = np.unique(codes, return_counts=True)
    return used[counts.argsort(kind='stable')[::-1]]


def spread_codes(codes: np.ndarray, count: int) -> np.ndarray:
    """Up to ``count`` of the codes that occur, evenly spread from the most used to the least used one."""
    used = codes_by_use(codes)
    return used[np.unique(np.linspace(0, len(used) - 1, min(count, len(used))).round().astype(int))]


def places_of(codes: np.ndarray, code: int, count: int) -> np.ndarray:
    """Up to ``count`` places (image, row, column) of a code, in different images as far as there are some."""
    places = np.random.default_rng(0).permutation(np.argwhere(codes == code))
    _, first = np.unique(places[:, 0], return_index=True)
    places = np.concatenate((places[np.sort(first)], np.delete(places, first, axis=0)))
    return places[:count]


def cut_windows(images: np.ndarray, places: np.ndarray, side: int, context: int) -> np.ndarray:
    """Patches with their surroundings.

    Args:
        images: (n, H, W, 3) uint8.
        places: (m, 3): image, row and column in the patch grid.
        side: of a patch, in pixels.
        context: patches of surroundings on each side; beyond the border the image is continued.

    Returns:
        (m, S, S, 3) uint8 with S = (2·context + 1)·side.
    """
    reach = np.arange(-context * side, (context + 1) * side)
    rows = np.clip(places[:, 1, None] * side + reach, 0, images.shape[1] - 1)
    columns = np.clip(places[:, 2, None] * side + reach, 0, images.shape[2] - 1)
    return images[places[:, 0, None, None], rows[:, :, None], columns[:, None, :]]


def code_strip(images: np.ndarray, codes: np.ndarray, code: int, count: int, context: int) -> np.ndarray:
    """Some patches that have a code, each framed in its surroundings, as one picture; see :func:`draw_codebook`."""
    side = images.shape[1] // codes.shape[1]
    scale = (_TILE - 2) / (2 * context + 1)  # pixels of a patch
    frame = [round(scale * context)] * 2 + [round(scale)] * 2  # x, y, width, height
    strip = np.full((_TILE, count, _TILE, 3), 255, dtype=np.uint8)
    for i, window in enumerate(cut_windows(images, places_of(codes, code, count), side, context)):
        tile = cv2.resize(window, (_TILE - 2, _TILE - 2), interpolation=cv2.INTER_AREA)
        strip[1:-1, i, 1:-1] = cv2.rectangle(tile, frame, color=(255, 0, 0), thickness=1)
    return strip.reshape(_TILE, -1, 3)


def draw_codebook(
    images: np.ndarray, codes: np.ndarray, chosen: Sequence[int] | np.ndarray, context: int = 1
) -> Figure:
    """Patches that share a code, each framed in its surroundings (paper, figure 4).

    Args:
        images: (n, H, W, 3) uint8 RGB.
        codes: (n, h, w) int.
        chosen: the codes to show, one a row, by twelve patches, from different images as far as there are some.
        context: patches of surroundings on each side.
    """
    figure = new_figure(9.4, len(chosen) * 0.9)
    for axis, code in zip(figure.subplots(len(chosen), squeeze=False)[:, 0], chosen, strict=True):
        show(axis, code_strip(images, codes, code, 12, context))
        axis.set_title(f'code {code}, {int((codes == code).sum())} patches', fontsize=6, loc='left')
    return figure


def draw_usage(codes: np.ndarray, num_codes: int) -> Figure:
    """How often each code of a codebook of this size occurs in ``codes``, sorted by use."""
    counts = np.bincount(codes.ravel(), minlength=num_codes)
    figure = new_figure(6, 3)
    axis = figure.subplots()
    axis.plot(np.arange(1, num_codes + 1), np.sort(counts)[::-1])
    axis.axhline(counts.mean(), color='gray', linestyle='--', label='all alike')
    axis.set_yscale('symlog', linthresh=1)
    axis.set(xlabel='codes, most used first', ylabel='patches', title=f'{(counts > 0).sum()} of {num_codes} codes used')
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=7)
    return figure
