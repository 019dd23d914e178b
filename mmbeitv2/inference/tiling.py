"""Images of any size for a segmentor: overlapping tiles whose seams are blended, read and written by windows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmbeitv2.datasets.file_backends import unreadable_image
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import open_atomically

WriteWindow = Callable[[int, int, np.ndarray], None]
TIFF_EXTENSIONS = ('.tif', '.tiff')
# Side of the tiles of a written TIFF, and the memory in bytes for those that are not written yet.
_BLOCK = 512
_BLOCK_CACHE = 128 << 20
# Buffers of logits that exist at once: sums, the strip that is done, and what is made of it.
_BUFFERS = 4


def tile_starts(side: int, crop: int, stride: int) -> list[int]:
    """Where the tiles of an image begin, along one side, as in mmseg's slide inference: the last is moved back."""
    count = max(side - crop + stride - 1, 0) // stride + 1
    return [max(min(i * stride, side - crop), 0) for i in range(count)]


def band_width(num_channels: int, crop_height: int, memory: int) -> int:
    """Width of the bands, multiples of the blocks of a TIFF, whose buffers of logits fit into ``memory`` megabytes."""
    column = 4 * _BUFFERS * (num_channels + 1) * crop_height
    return max(memory * 1_000_000 // column // _BLOCK, 1) * _BLOCK


def blend_tiles(
    size: tuple[int, int],
    crop: tuple[int, int],
    stride: tuple[int, int],
    predict: Callable[[int, Sequence[int]], Tensor],
    columns: tuple[int, int] | None = None,
    batch_size: int = 1,
) -> Iterator[tuple[int, Tensor]]:
    """Predicts an image by overlapping tiles: the mean of the logits, weighted by the distance to the tile's edge.

    Only one row of tiles is kept.

    Args:
        size: (H, W) of the image.
        crop: height and width of a tile; an image that is smaller is one tile.
        stride: from tile to tile.
        predict: (top, [left, ...]) of B tiles -> logits (B, C, h, w).
        columns: first and last + 1 of the columns that are wanted; None for all.
        batch_size: tiles that are predicted at once.

    Yields:
        Top and logits (C, rows, columns) of each strip, downward.
    """
    (height, width), (first, end) = size, columns or (0, size[1])
    tops, lefts = (tile_starts(*each) for each in zip(size, crop, stride, strict=True))
    rows, across = min(crop[0], height), min(crop[1], width)
    weight = _ramp(rows)[:, None] * _ramp(across) if len(tops) * len(lefts) > 1 else torch.ones(rows, across)
    lefts = [left for left in lefts if left < end and left + across > first]
    sums = total = None
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        for start in range(0, len(lefts), batch_size):
            batch = lefts[start : start + batch_size]
            logits = predict(top, batch)
            if sums is None or total is None:
                weight = weight.to(logits.device)
                sums = logits.new_zeros(logits.shape[1], rows, end - first)
                total = logits.new_zeros(rows, end - first)
            for left, tile in zip(batch, logits, strict=True):
                begin, stop = max(left, first), min(left + across, end)
                inside, there = slice(begin - left, stop - left), slice(begin - first, stop - first)
                sums[..., there] += tile[..., inside] * weight[:, inside]
                total[:, there] += weight[:, inside]
        assert sums is not None
        assert total is not None
        done = following - top
        yield top, sums[:, :done] / total[:done]
        for buffer in (sums, total):  # the rows that the next tiles cover too move up
            buffer[..., : rows - done, :] = buffer[..., done:, :].clone()
            buffer[..., rows - done :, :] = 0


def _ramp(length: int) -> Tensor:
    """Rises from the ends to the middle, in (0, 1]."""
    place = torch.arange(length)
    return (torch.minimum(place, length - 1 - place) + 1) / (length + 1) * 2


class ArrayImage:
    """An image in memory, read by windows.

    Args:
        pixels: (H, W, N).
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.size = pixels.shape[:2]

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Pixels (height, width, N)."""
        return self.pixels[top : top + height, left : left + width]


class TiffImage:
    """A TIFF of any size, read by windows with rasterio.

    Args:
        path: of the file.
        convert: makes pixels (h, w, N), or raises an InputError, of pixels (h, w, bands) as they are in the file.

    Raises:
        UnreadableImageError: if it is missing or no TIFF, also while it is read.
        InputError: if rasterio is not installed.
    """

    def __init__(self, path: str, convert: Callable[[np.ndarray], np.ndarray]) -> None:
        self.path, self.convert = path, convert
        try:
            self.file = _rasterio().open(path)
        except OSError as error:
            raise unreadable_image(path, error) from error
        if self.file.colorinterp[0].name == 'palette':
            raise unreadable_image(path, InputError('it has a palette; convert it to RGB'))
        self.size = (self.file.height, self.file.width)
        #: georeference, which the outputs get too
        self.georeference = {'crs': self.file.crs, 'transform': self.file.transform}

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Pixels (height, width, N)."""
        try:
            pixels = self.file.read(window=((top, top + height), (left, left + width)))
            return self.convert(np.moveaxis(pixels, 0, -1))
        except OSError as error:  # rasterio's refers to its cause
            raise unreadable_image(self.path, error.__cause__ or error) from error
        except (TypeError, InputError) as error:  # Pillow's TypeError means pixels of another kind
            raise unreadable_image(self.path, error) from error


@contextmanager
def writing_png(
    path: Path, size: tuple[int, int], channels: int, dtype: type, palette: np.ndarray | None
) -> Iterator[WriteWindow]:
    """A map in memory, which becomes a file when the block succeeds.

    Args:
        path: of the file.
        size: (H, W).
        channels: 1, or 3 for RGB.
        dtype: uint8 or uint16.
        palette: (256, 3) uint8 of a map of one channel; None for gray.

    Yields:
        A function (top, left, pixels (h, w) or (h, w, 3)) that puts pixels into the map.

    Raises:
        InputError: if the file cannot be written.
    """
    pixels: np.ndarray = np.zeros(size if channels == 1 else (*size, channels), dtype)

    def write(top: int, left: int, part: np.ndarray) -> None:
        pixels[top : top + part.shape[0], left : left + part.shape[1]] = part

    yield write
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette.tobytes())
    with open_atomically(path) as stream:
        image.save(stream, 'PNG')


@contextmanager
def writing_tiff(
    path: Path,
    size: tuple[int, int],
    channels: int,
    dtype: type,
    palette: np.ndarray | None,
    georeference: dict[str, Any],
) -> Iterator[WriteWindow]:
    """Like :func:`writing_png`, but a tiled TIFF that is written by windows, with the georeference of its image."""
    rasterio = _rasterio()
    shape = dict(height=size[0], width=size[1], count=channels, dtype=np.dtype(dtype).name)
    layout = dict(tiled=True, blockxsize=_BLOCK, blockysize=_BLOCK, interleave='pixel', BIGTIFF='IF_SAFER')
    layout |= dict(photometric='RGB') if channels == 3 else {}
    layout |= dict(compress='deflate', **georeference)
    with open_atomically(path) as stream, rasterio.open(stream.name, 'w', 'GTiff', **shape, **layout) as file:
        if palette is not None:
            file.write_colormap(1, dict(enumerate(map(tuple, palette.tolist()))))

        def write(top: int, left: int, part: np.ndarray) -> None:
            window = ((top, top + part.shape[0]), (left, left + part.shape[1]))
            file.write(np.atleast_3d(part).transpose(2, 0, 1), window=window)

        yield write


@contextmanager
def raster_settings() -> Iterator[None]:
    """Inside, rasterio keeps few pixels in memory, and takes images without a georeference for granted.

    Raises:
        InputError: if rasterio is not installed.
    """
    rasterio = _rasterio()
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=_BLOCK_CACHE >> 20):
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        yield


def _rasterio() -> Any:
    try:
        import rasterio
    except ImportError:
        raise InputError(
            'TIFF files are read by windows with rasterio, which is not installed. Install it with: pip install '
            "'mmbeitv2[tiff]'"
        ) from None
    return rasterio
