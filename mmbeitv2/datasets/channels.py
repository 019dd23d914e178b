"""Images with any number of channels (grayscale, multispectral, color with depth) of 8 or 16 bits or floating point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import Literal, get_args

import cv2
import numpy as np
from PIL import Image

from mmbeitv2.datasets.decoding import MAX_PIXELS, check_size, decoding, upright
from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS
from mmbeitv2.datasets.transforms import LoadImage
from mmbeitv2.errors import InputError, require_known
from mmbeitv2.registry import TRANSFORMS

ChannelType = Literal['uint8', 'uint16', 'int16', 'float32']
CHANNEL_EXTENSIONS = (*IMAGE_EXTENSIONS, '.npy')
MAX_CHANNELS = 32
_NPY = b'\x93NUMPY'
_TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # the latter two are BigTIFF
_PNG, _PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'
# Modes whose values Pillow gives as they are in the file; palettes and other color spaces become RGB.
_PLAIN_MODES = ('L', 'LA', 'RGB', 'RGBA', 'F', 'I')


@TRANSFORMS.register_module()
class LoadChannels(LoadImage):
    """Reads an image file with any number of channels without changing its values, see :func:`decode_channels`.

    Adds ``img``, (H, W, N), its channels in the order of the file (RGB, not BGR, in a photograph): uint8, or float32
    with the values of the file for the other types; and ``img_shape`` and ``ori_shape``, (H, W).

    A dataset only lists ``.npy`` files if its ``extensions`` contain ``.npy``.

    Args:
        channels: number N of channels, 1 to 32, that every image must have.
        dtype: type of the values that every image must have: ``'uint8'``, ``'uint16'``, ``'int16'`` or ``'float32'``,
            which stands for floating-point numbers of any width.
        keep: which channels ``img`` gets, counted from 0, in this order; None for all.
        max_pixels: a larger image (height times width) counts as unreadable.
        backend_args: of the file backend, see ``mmengine.fileio.get``.

    Raises:
        UnreadableImageError: if the file is missing, damaged or not an image, has other channels or another type, or
            contains values that are not finite.
    """

    def __init__(
        self,
        channels: int,
        dtype: ChannelType = 'uint8',
        keep: Sequence[int] | None = None,
        max_pixels: int = MAX_PIXELS,
        backend_args: dict | None = None,
    ) -> None:
        super().__init__(max_pixels=max_pixels, backend_args=backend_args)
        if not 1 <= channels <= MAX_CHANNELS:
            raise InputError(f'channels={channels} of LoadChannels must lie between 1 and {MAX_CHANNELS}')
        require_known(('dtype', dtype, ChannelType))
        if keep is not None and not (keep and all(0 <= channel < channels for channel in keep)):
            raise InputError(f'keep={keep} of LoadChannels must be channels between 0 and {channels - 1}')
        self.channels = channels
        self.dtype = dtype
        self.keep = None if keep is None else list(keep)
        self.num_kept = channels if keep is None else len(keep)

    def decode(self, content: bytes) -> np.ndarray:
        return self.checked(decode_channels(content, self.max_pixels))

    def checked(self, pixels: np.ndarray) -> np.ndarray:
        """Checks pixels (H, W, N) against the config and returns the channels to keep: uint8, or float32 for any other
        type.

        Raises:
            InputError: naming what differs.
        """
        channels = pixels.shape[2]
        if channels != self.channels or pixels.dtype != self.dtype:
            raise InputError(
                f'it has {channels} {"channel" if channels == 1 else "channels"} of type {pixels.dtype}, but '
                f'LoadChannels expects channels={self.channels} and dtype={self.dtype!r} of every image'
            )
        kept = pixels if self.keep is None else pixels[..., self.keep]
        return kept if kept.dtype == np.uint8 else kept.astype(np.float32)


def decode_channels(content: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes an image file without changing its values.

    ``.npy`` files hold (H, W, N) or (H, W). The channels of a TIFF are its samples, interleaved or as planes, or else
    its pages. Other formats are read as their header says: gray, gray with alpha, RGB or RGBA, with 8 or 16 bits. The
    orientation in the EXIF data is applied, and palettes and other color spaces are converted to RGB.

    Args:
        content: the bytes of the file.
        max_pixels: images with more pixels (height times width) are rejected after reading the header.

    Returns:
        Pixels (H, W, N), uint8, uint16, int16, or float32 for floating-point numbers of any width; RGB and not BGR.

    Raises:
        ValueError, OSError: with the reason, if these bytes are not such an image, are truncated, or contain numbers
            that are not finite.
    """
    with decoding(content):
        if content.startswith(_NPY):
            pixels = _read_npy(content, max_pixels)
        elif content.startswith(_TIFF):
            pixels = _read_tiff(content, max_pixels)
        else:
            pixels = _read_picture(content, max_pixels)
        return to_supported_type(pixels)


def to_supported_type(pixels: np.ndarray) -> np.ndarray:
    """An array (H, W, N) or (H, W) as (H, W, N) of one of the types of ``ChannelType``, its values unchanged.

    Raises:
        InputError: if it has another shape or type, or values that are not finite.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or not pixels.size or pixels.shape[2] > MAX_CHANNELS:
        raise InputError(
            f'its array has the shape {pixels.shape}, but (height, width, channels) with 1 to {MAX_CHANNELS} '
            'channels is expected'
        )
    if pixels.dtype.kind == 'f':
        with np.errstate(over='ignore'):
            pixels = pixels.astype(np.float32, copy=False)
        if not np.isfinite(pixels).all():
            count = int((~np.isfinite(pixels)).sum())
            raise InputError(f'{count} of its {pixels.size} values are NaN or infinite; replace them by finite numbers')
        return pixels
    if pixels.dtype.name not in get_args(ChannelType):
        raise InputError(
            f'its values are of type {pixels.dtype}; convert them to one of {", ".join(get_args(ChannelType))}'
        )
    return pixels.astype(pixels.dtype.newbyteorder('='), copy=False)


def _read_npy(content: bytes, max_pixels: int) -> np.ndarray:
    stream = BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if len(shape) > 1:
        check_size(shape[1], shape[0], max_pixels)
    if len(content) - stream.tell() < math.prod(shape) * dtype.itemsize:  # before memory is taken for the array
        raise InputError('it is truncated')
    stream.seek(0)
    return np.load(stream, allow_pickle=False)


def _read_tiff(content: bytes, max_pixels: int) -> np.ndarray:
    try:
        import tifffile
    except ImportError:
        raise InputError(
            'TIFF files are read with tifffile, which is not installed. Install it with: pip install tifffile'
        ) from None
    with tifffile.TiffFile(BytesIO(content)) as file:
        series = file.series[0]
        for page in series.pages:
            if page is None or any(
                offset + size > len(content) for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True)
            ):
                raise InputError('it is truncated')
        shape, axes = series.shape, series.axes
        rest = [axis for axis in range(len(axes)) if axes[axis] not in 'YX']
        if axes.count('Y') != 1 or axes.count('X') != 1 or sum(shape[axis] > 1 for axis in rest) > 1:
            raise InputError(
                f'its array has the shape {tuple(shape)} of axes {axes}; a file must hold one image with its channels'
            )
        height, width = shape[axes.index('Y')], shape[axes.index('X')]
        check_size(width, height, max_pixels)
        pixels = np.moveaxis(series.asarray(), [axes.index('Y'), axes.index('X')], [0, 1])
        return pixels.reshape(height, width, -1)


def _read_picture(content: bytes, max_pixels: int) -> np.ndarray:
    with Image.open(BytesIO(content)) as image:  # reads the header only
        check_size(*image.size, max_pixels)
        # Of 16-bit PNGs with several channels Pillow keeps the upper eight bits; OpenCV reads some that are cut off.
        is_gray16 = image.mode == 'I' or image.mode.startswith('I;16')
        if content.startswith(_PNG) and content[24] == 16 and not is_gray16:
            if not content.endswith(_PNG_END):
                raise InputError('it is truncated')
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
            if pixels is None or pixels.dtype != np.uint16:
                raise InputError('it is a damaged PNG file')
            order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]  # OpenCV gives BGR
            return np.ascontiguousarray(pixels[..., order])
        turned = upright(image)
        values = np.array(turned if is_gray16 or turned.mode in _PLAIN_MODES else turned.convert('RGB'))
        if turned.mode == 'I' and values.min() >= 0 and values.max() <= 65535:  # a 16-bit PNG in older Pillows
            return values.astype(np.uint16)
        return values
