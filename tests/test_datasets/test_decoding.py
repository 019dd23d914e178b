from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmbeitv2.datasets.channels import decode_channels
from mmbeitv2.datasets.decoding import MAX_PIXELS, decode_image, to_rgb


def picture(height: int = 90, width: int = 120) -> np.ndarray:
    """Smooth noise (height, width, 3) uint8."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_jpegs_decode_to_pillows_pixels() -> None:
    for mode in ('RGB', 'L', 'CMYK'):
        content = encoded(Image.fromarray(picture()).convert(mode), 'JPEG')
        expected = np.asarray(Image.open(io.BytesIO(content)).convert('RGB'))
        assert np.array_equal(decode_image(content)[..., ::-1], expected)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_the_orientation_is_applied_in_files_and_pil_images_alike(kind: str, orientation: int) -> None:
    turns: dict[int, Image.Transpose] = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(picture()), kind, exif=exif)
    upright = Image.open(io.BytesIO(content)).convert('RGB')
    expected = np.asarray(upright.transpose(turns[orientation]) if orientation > 1 else upright)
    assert np.array_equal(decode_image(content)[..., ::-1], expected)
    assert np.array_equal(to_rgb(Image.open(io.BytesIO(content))), expected)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
@pytest.mark.parametrize('exif', [b'Exif\0\0nonsense', b'Exif\0\0II*\0\xff\xff\xff\xff', b'Exif\0\0', b'?'])
def test_an_orientation_that_cannot_be_read_is_ignored(kind: str, exif: bytes) -> None:
    options = {'lossless': True} if kind == 'WEBP' else {}
    content = encoded(Image.fromarray(picture()), kind, exif=exif, **options)
    plain = np.asarray(Image.open(io.BytesIO(encoded(Image.fromarray(picture()), kind, **options))))
    assert np.array_equal(decode_image(content)[..., ::-1], plain)
    assert np.array_equal(decode_channels(content), plain)
    assert np.array_equal(to_rgb(Image.open(io.BytesIO(content))), plain)


def test_every_type_of_pixels_becomes_eight_bit_rgb() -> None:
    gray = picture()[..., 0]
    sixteen = gray.astype(np.uint16) * 256 + 77
    color = Image.fromarray(picture())
    alpha = color.copy()
    alpha.putalpha(Image.fromarray(gray))
    as_grey, as_color = np.repeat(gray[..., None], 3, axis=2), picture()
    palette = color.convert('P', palette=Image.Palette.ADAPTIVE)
    for image, kind, expected in (
        (Image.fromarray(gray), 'PNG', as_grey),
        (Image.fromarray(sixteen), 'PNG', as_grey),
        (Image.fromarray(sixteen), 'TIFF', as_grey),
        (Image.fromarray(sixteen.astype(np.int32)), 'TIFF', as_grey),
        (Image.merge('LA', (Image.fromarray(gray), Image.fromarray(gray))), 'PNG', as_grey),
        (alpha, 'PNG', as_color),
        (alpha, 'TIFF', as_color),
        (palette, 'PNG', np.asarray(palette.convert('RGB'))),
        (Image.fromarray(gray > 99), 'PNG', (as_grey > 99) * np.uint8(255)),
        (color.convert('CMYK'), 'TIFF', as_color),
    ):
        assert np.array_equal(to_rgb(image), expected), image.mode
        assert np.array_equal(decode_image(encoded(image, kind))[..., ::-1], expected), (image.mode, kind)


@pytest.mark.parametrize(
    ('pixels', 'message'),
    [
        (np.ones((4, 4), np.float32), 'floating-point numbers, which have no standard range; convert it to 8 bits'),
        (np.full((4, 4), 70000, np.int32), 'between 70000 and 70000; convert it to 8 or 16 bits'),
    ],
)
def test_pixels_without_an_obvious_range_are_refused(pixels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_rgb(Image.fromarray(pixels))
    with pytest.raises(ValueError, match=message):
        decode_image(encoded(Image.fromarray(pixels), 'TIFF'))


@pytest.mark.parametrize(
    ('kind', 'options'),
    [
        ('JPEG', {}),
        ('JPEG', {'progressive': True}),
        ('PNG', {}),
        ('WEBP', {}),
        ('TIFF', {'compression': 'tiff_lzw'}),
    ],
)
def test_a_file_that_is_cut_off_is_refused(kind: str, options: dict) -> None:
    content = encoded(Image.fromarray(picture()), kind, **options)
    for share in (0.02, 0.3, 0.6, 0.98):
        with pytest.raises((ValueError, OSError)):
            decode_image(content[: int(share * len(content))])


def png_header(width: int, height: int) -> bytes:
    """A PNG up to where its pixels start."""
    header = struct.pack('>2I5B', width, height, 8, 2, 0, 0, 0)
    chunk = b'IHDR' + header
    return b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + chunk + struct.pack('>2I', zlib.crc32(chunk), 100) + b'IDAT'


def test_images_of_too_many_pixels_are_refused_by_their_header() -> None:
    with pytest.raises(ValueError, match=f'900000000 pixels. exceeds limit of {MAX_PIXELS}'):
        decode_image(png_header(30000, 30000))
    with pytest.raises(ValueError, match=r'it has 3000x4000 pixels, but only 1 to max_pixels=1000000 are allowed'):
        decode_image(png_header(3000, 4000), max_pixels=1_000_000)


def test_damaged_files_never_escape_as_another_error() -> None:
    rng = np.random.default_rng(0)
    for kind in ('JPEG', 'PNG', 'TIFF', 'WEBP', 'BMP'):
        content = encoded(Image.fromarray(picture(24, 32)), kind)
        for _ in range(60):
            damaged = np.frombuffer(content, np.uint8).copy()
            damaged[rng.integers(0, min(len(damaged), 300), 4)] = rng.integers(0, 256, 4)
            try:
                decoded = decode_image(damaged.tobytes(), max_pixels=10_000_000)
            except (ValueError, OSError):
                continue
            assert decoded.dtype == np.uint8
            assert decoded.shape[2] == 3
