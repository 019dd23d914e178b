"""Warnings of libraries that a user of the tools can do nothing about."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# How they begin, as patterns.
_HARMLESS_WARNINGS = (
    'Fail to import ``MultiScaleDeformableAttention``',
    "'pin_memory' argument is set as true but",
    'Setting (OMP|MKL)_NUM_THREADS environment variable',
    'The draw is False, it means that the hook',
    'The show is True, it means that only',
    'The prefix is not set in metric class',
)
# Announcements to those who develop with a library.
_FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


@contextmanager
def harmless_warnings_ignored() -> Iterator[None]:
    """Hides what libraries say at every start; everything else is shown as ever."""
    with warnings.catch_warnings():
        for message in _HARMLESS_WARNINGS:
            warnings.filterwarnings('ignore', message)
        for category in _FOR_DEVELOPERS:
            warnings.simplefilter('ignore', category)
        yield


@contextmanager
def silent_imports() -> Iterator[None]:
    """Hides what libraries print while they are imported ("Could not import OneDL")."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
