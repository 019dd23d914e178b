"""From the bytes of an image file, or a PIL image, to 8-bit pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import cv2
import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from mmbeitv2.errors import InputError

# The size above which Pillow refuses an image as a decompression bomb.
MAX_PIXELS = 178_956_970
# What an EXIF orientation asks for.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


def decode_image(content: bytes, min_side: int | None = None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes an image file, by the rules of :func:`to_rgb`.

    Args:
        content: the bytes of the file.
        min_side: decodes a JPEG at 1/2, 1/4 or 1/8 of its size, the smallest at which its shorter side still has this
            many pixels; None decodes it at full size.
        max_pixels: larger images are rejected after reading the header, before memory is allocated for their pixels.

    Returns:
        Pixels (H, W, 3) uint8, BGR, as OpenMMLab's transforms expect them.

    Raises:
        ValueError, OSError: with the reason, if these bytes are not an image, are truncated, or have more pixels or
            another type of pixels than supported.
    """
    with decoding(content), Image.open(BytesIO(content)) as image:  # reads the header only
        check_size(*image.size, max_pixels)
        # OpenCV decodes a JPEG to the same pixels in two thirds of Pillow's time, but some versions of it return
        # what there is of a file that is cut off: whatever does not end as a JPEG does is left to Pillow.
        if image.format == 'JPEG' and image.mode in ('L', 'RGB') and content.endswith(b'\xff\xd9'):
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), _scale_flag(min(image.size), min_side))
            if pixels is not None:
                return pixels
        return cv2.cvtColor(to_rgb(image), cv2.COLOR_RGB2BGR)


@contextmanager
def decoding(content: bytes) -> Iterator[None]:
    """Turns the different errors that decoders raise into one reason.

    Raises:
        ValueError, OSError: with the reason.
    """
    if not content:
        raise InputError('the file is empty')
    try:
        yield
    except UnidentifiedImageError:
        raise InputError('it is truncated, or not an image of a format and pixel type that Pillow can read') from None
    except Image.DecompressionBombError as error:
        raise InputError(f'it is too large: {str(error).rstrip(".")}') from None
    except (InputError, OSError):
        raise
    except Exception as error:  # decoders raise anything on damaged files: struct.error, SyntaxError, KeyError, …
        raise InputError(f'it is damaged: {error or type(error).__name__}') from error


def _scale_flag(side: int, min_side: int | None) -> int:
    """OpenCV's flag for the smallest size allowed."""
    for factor, flag in _REDUCED:
        if min_side is not None and side >= factor * min_side:
            return flag
    return cv2.IMREAD_COLOR


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raises an InputError if an image has no pixels or too many."""
    if not 0 < width * height <= max_pixels:
        raise InputError(f'it has {width}x{height} pixels, but only 1 to max_pixels={max_pixels} are allowed')


def upright(image: Image.Image) -> Image.Image:
    """An image turned as its EXIF data says; EXIF data that cannot be read is ignored, as in Pillow's own programs."""
    image.load()  # whose errors count; it turns a TIFF
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width of :func:`upright`, from the header alone; not of a TIFF, which some Pillows turn when they open
    it."""
    width, height = image.size
    return (width, height) if _orientation(image) in (5, 6, 7, 8) else (height, width)  # by a quarter


def is_turned_tiff(path: str) -> bool:
    """Whether :func:`upright` would turn a TIFF of any size."""
    try:
        with TiffImagePlugin.TiffImageFile(path) as image:  # reads the header only
            return _orientation(image) in _TURNS
    except Exception:  # Pillow cannot read it
        return False


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # SyntaxError, struct.error, KeyError, …
        return 1


def to_rgb(image: Image.Image) -> np.ndarray:
    """The pixels (H, W, 3) uint8 of a PIL image of any mode.

    The orientation in the EXIF data is applied, an alpha channel is left out, palettes are converted to colors, gray
    and CMYK are converted by Pillow, and the upper eight bits of 16-bit pixels are kept.

    Raises:
        InputError: if the pixels are floating-point numbers, or integers of more than 16 bits, which have no standard
            range.
    """
    image = upright(image)
    if image.mode == 'I' or image.mode.startswith('I;16'):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(f'its pixels lie between {values.min()} and {values.max()}; convert it to 8 or 16 bits')
        return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == 'F':
        raise InputError('its pixels are floating-point numbers, which have no standard range; convert it to 8 bits')
    return np.array(image if image.mode == 'RGB' else image.convert('RGB'))
