from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from mmbeitv2.datasets import FitImage, LoadChannels, RandomResizedCrop
from mmbeitv2.datasets.channels import decode_channels
from mmbeitv2.errors import InputError, UnreadableImageError


def sample(channels: int, dtype: type, height: int = 12, width: int = 17) -> np.ndarray:
    values = np.random.default_rng(channels).random((height, width, channels))
    return (values if np.issubdtype(dtype, np.floating) else values * np.iinfo(dtype).max).astype(dtype)


def tiff(pixels: np.ndarray, **settings: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, photometric='minisblack', **settings)
    return stream.getvalue()


def npy(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize('channels', [1, 3, 6, 32])
def test_files_of_any_channels_and_type_give_the_values_that_were_written(channels: int, dtype: type) -> None:
    pixels = sample(channels, dtype)
    planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    files = [npy(pixels), npy(np.asfortranarray(pixels)), npy(pixels.astype(pixels.dtype.newbyteorder('>')))]
    samples = dict(planarconfig='contig') if channels > 1 else {}
    files += [tiff(pixels, **samples, compression=how) for how in (None, 'zlib')]
    if channels > 1:
        files.append(tiff(planes, planarconfig='separate', byteorder='>'))
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream, bigtiff=True) as writer:
            for plane in planes:  # a page for each channel
                writer.write(plane, photometric='minisblack', contiguous=True)
        files.append(stream.getvalue())
    for content in files:
        decoded = decode_channels(content)
        assert decoded.dtype == pixels.dtype
        np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize(
    ('mode', 'channels', 'dtype'),
    [('L', 1, np.uint8), ('LA', 2, np.uint8), ('RGB', 3, np.uint8), ('RGBA', 4, np.uint8), ('I;16', 1, np.uint16)],
)
def test_pngs_keep_their_channels_in_the_order_of_rgb(mode: str, channels: int, dtype: type) -> None:
    pixels = sample(channels, dtype)
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(stream, 'png')
    assert Image.open(io.BytesIO(stream.getvalue())).mode == mode
    np.testing.assert_array_equal(decode_channels(stream.getvalue()), pixels)


@pytest.mark.parametrize('channels', [3, 4])
def test_pngs_of_16_bits_keep_them(channels: int) -> None:
    pixels = sample(channels, np.uint16)
    order = [2, 1, 0, 3][:channels]
    content = cv2.imencode('.png', pixels[..., order])[1].tobytes()
    np.testing.assert_array_equal(decode_channels(content), pixels)
    with pytest.raises(InputError, match='it is truncated'):
        decode_channels(content[:-30])


def test_values_reach_the_pipeline_as_uint8_or_float32(tmp_path: Path) -> None:
    for dtype, expected in ((np.uint8, np.uint8), (np.uint16, np.float32), (np.float64, np.float32)):
        pixels = sample(6, dtype)
        np.save(tmp_path / 'a.npy', pixels)
        name = 'float32' if dtype == np.float64 else np.dtype(dtype).name
        loaded = LoadChannels(6, name).transform(dict(img_path=str(tmp_path / 'a.npy')))
        assert loaded['img'].dtype == expected
        np.testing.assert_array_equal(loaded['img'], pixels.astype(expected))
        kept = LoadChannels(6, name, keep=(5, 0)).transform(dict(img_path=str(tmp_path / 'a.npy')))
        np.testing.assert_array_equal(kept['img'], pixels[..., [5, 0]].astype(expected))
        assert loaded['img_shape'] == loaded['ori_shape'] == (12, 17)


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_crops_of_many_channels_are_those_of_each_channel(dtype: type) -> None:
    pixels = sample(7, dtype, 40, 50)
    if dtype == np.float32:
        pixels = pixels * 3000 - 500
    for transform in (FitImage(16), RandomResizedCrop(16)):
        np.random.seed(0)
        whole = transform.transform(dict(img=pixels))['img']
        for start in (0, 2, 4):
            np.random.seed(0)
            part = transform.transform(dict(img=pixels[..., start : start + 3]))['img']
            np.testing.assert_allclose(whole[..., start : start + 3], part, atol=1, rtol=1e-4)
        assert whole.dtype == dtype
        assert (whole.max((0, 1)) <= pixels.max((0, 1))).all()
        assert (whole.min((0, 1)) >= pixels.min((0, 1))).all()


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'no image', 'not an image of a format'),
        (npy(sample(4, np.uint16)), 'it has 4 channels of type uint16, but LoadChannels expects channels=6'),
        (npy(sample(6, np.uint8)), "it has 6 channels of type uint8, .* dtype='uint16'"),
        (npy(np.moveaxis(sample(6, np.uint16, 40, 50), 2, 0)), r'shape \(6, 40, 50\), but \(height, width, channels\)'),
        (npy(np.zeros((2, 2, 6), np.int64)), 'its values are of type int64; convert them'),
        (npy(np.array([[{}]])), 'truncated|allow_pickle'),
        (npy(np.full((1, 2, 6), np.nan, np.float32)), '12 of its 12 values are NaN or infinite'),
        (tiff(sample(6, np.uint16), planarconfig='contig')[:-10], 'it is truncated'),
        (tiff(sample(33, np.uint16), planarconfig='contig'), 'with 1 to 32 channels'),
        (b'\x93NUMPY\x01\x00', 'damaged'),
    ],
)
def test_what_is_not_as_the_config_says_is_refused_in_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / 'a.npy'
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=f'a.npy. cannot be read .*{reason}') as caught:
        LoadChannels(6, 'uint16').transform(dict(img_path=str(path)))
    assert '\n' not in str(caught.value)
