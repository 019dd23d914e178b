"""Mean and standard deviation of each channel over a folder of images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from mmbeitv2.datasets.channels import decode_channels
from mmbeitv2.datasets.file_backends import read_file, unreadable_image
from mmbeitv2.errors import InputError

# Black and white of a picture lie so many standard deviations from the mean.
RANGE_STDS = 2


def channel_statistics(paths: Iterable[str | Path]) -> dict:
    """Statistics over all pixels of some images, in float64 and one image in memory at a time.

    Args:
        paths: of image files, which must have the same channels and type.

    Returns:
        ``images``, ``channels``, ``dtype``, and for each channel ``mean``, ``std`` (of the population), ``min`` and
        ``max``, in the values of the files.

    Raises:
        InputError: naming the image that cannot be read, or has other channels or another type than the first.
    """
    first, images = None, 0
    scaler, limits = StandardScaler(), MinMaxScaler()
    for path in paths:
        try:
            image = decode_channels(read_file(str(path)))
        except (OSError, ValueError) as error:
            raise unreadable_image(str(path), error) from error
        kind = (image.shape[2], image.dtype.name)
        first = first or (path, kind)
        if kind != first[1]:
            raise InputError(
                f'image {str(path)!r} has {kind[0]} channels of type {kind[1]}, and {str(first[0])!r} has '
                f'{first[1][0]} of type {first[1][1]}. All images of a folder must be of the same kind.'
            )
        values = image.reshape(-1, kind[0]).astype(np.float64)
        scaler.partial_fit(values)
        limits.partial_fit(values)
        images += 1
    if first is None:
        raise InputError('there are no images. Pass at least one path.')
    return {
        'images': images,
        'channels': first[1][0],
        'dtype': first[1][1],
        'mean': scaler.mean_.tolist(),
        'std': np.sqrt(scaler.var_).tolist(),
        'min': limits.data_min_.tolist(),
        'max': limits.data_max_.tolist(),
    }


def config_lines(statistics: dict) -> str:
    """Settings to paste into a config."""
    mean, std = (_rounded(statistics[name]) for name in ('mean', 'std'))
    ranges = [_rounded([m - RANGE_STDS * s, m + RANGE_STDS * s]) for m, s in zip(mean, std, strict=True)]
    if statistics['dtype'] == 'uint8':
        ranges = [[0, 255]] * len(mean)
    return (
        f'channel_mean = {mean}\n'
        f'channel_std = {std}\n'
        f'channel_range = {ranges}\n'
        f"load_channels = dict(type='mmbeitv2.LoadChannels', channels={statistics['channels']}, "
        f'dtype={statistics["dtype"]!r})\n'
    )


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f'{value:.6g}') for value in values]


def table(statistics: dict) -> str:
    """The numbers of each channel, one channel a line."""
    lines = [f'{statistics["images"]} images of {statistics["channels"]} channels, {statistics["dtype"]}']
    lines.append(f'{"channel":>7}{"mean":>12}{"std":>12}{"min":>12}{"max":>12}')
    for channel in range(statistics['channels']):
        row = ''.join(f'{statistics[name][channel]:>12.6g}' for name in ('mean', 'std', 'min', 'max'))
        lines.append(f'{channel:>7}{row}')
    constant = [str(channel) for channel, std in enumerate(statistics['std']) if std == 0]
    if constant:
        lines.append(
            f'Channels {", ".join(constant)} have the same value in all pixels. Leave them out with keep= of '
            'LoadChannels.'
        )
    return '\n'.join(lines) + '\n'
