"""The errors that this package raises."""

from __future__ import annotations


class InputError(ValueError):
    """Something in the user's input is wrong; the message names it and says what to do."""


class UnreadableImageError(InputError):
    """An image is missing, truncated, or not an image; the message names it."""
