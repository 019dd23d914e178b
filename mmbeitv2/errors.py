"""The errors that this package raises."""

from __future__ import annotations

from typing import get_args


class InputError(ValueError):
    """Something in the user's input is wrong; the message names it and says what to do."""


class UnreadableImageError(InputError):
    """An image is missing, truncated, or not an image; the message names it."""


def require_known(*settings: tuple[str, str, object]) -> None:
    """Refuses a setting (name, value, ``Literal`` of the choices) that is none of the choices."""
    for name, value, literal in settings:
        if value not in get_args(literal):
            raise InputError(f'{name}={value!r} is unknown. Choose one of {", ".join(get_args(literal))}.')
