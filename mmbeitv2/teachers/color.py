"""Which channels of an image stand for red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence

from mmbeitv2.errors import InputError


def check_color_channels(name: str, chosen: Sequence[int], channels: int) -> None:
    """Refuses a setting of this name unless it has three of so many channels, counted from 0."""
    if len(chosen) != 3 or not all(0 <= channel < channels for channel in chosen):
        raise InputError(
            f'{name}={tuple(chosen)} must be three channels, for red, green and blue, between 0 and {channels - 1}'
        )
