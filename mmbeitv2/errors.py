"""The errors that this package raises, and what a program was doing when any error came up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something in the user's input is wrong; the message names it and says what to do."""


class UnreadableImageError(InputError):
    """An image is missing, truncated, or not an image; the message names it."""


@contextmanager
def doing(action: str | Callable[[], str]) -> Iterator[None]:
    """Tells the error report what the program was doing, such as ``saving epoch 7 to 'work_dirs/a'``.

    The innermost of nested blocks counts. The exception itself is not changed.

    Args:
        action: words that follow "while"; or a function that finds them when the error comes up.
    """
    try:
        yield
    except Exception as error:
        if action_of(error) is None:
            error.mmbeitv2_action = action() if callable(action) else action  # type: ignore[attr-defined]
        raise


def action_of(error: BaseException) -> str | None:
    """What the program was doing when this error came up, as far as a :func:`doing` says so."""
    return getattr(error, 'mmbeitv2_action', None)
