"""Folders that a tool writes: only those that are new, empty, or its own.

A tool marks each folder that it makes with a file, :data:`MARKER`, which holds the tool's name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import write_atomically

MARKER = '.mmbeitv2'


def require_claimable(folder: Path, tool: str) -> None:
    """Refuses a folder that holds something and does not carry the tool's mark.

    Raises:
        InputError: naming the first entries.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise InputError(f'{str(folder)!r} exists and is not a folder. Choose another name.')
    entries = sorted(path.name for path in folder.iterdir())
    if entries and not is_made_by(folder, tool):
        raise InputError(
            f'folder {str(folder)!r} was not made by {tool} and holds {_first(entries)}. Choose a new or an '
            'empty folder.'
        )


def is_made_by(folder: Path, tool: str) -> bool:
    """Whether a folder carries the tool's mark."""
    marker = folder / MARKER
    return marker.is_file() and not marker.is_symlink() and marker.read_text(errors='replace').strip() == tool


def claim_folder(folder: Path, tool: str) -> None:
    """Makes a folder, or takes one that is empty or the tool's own, and marks it.

    Raises:
        InputError: see :func:`require_claimable`.
    """
    require_claimable(folder, tool)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MARKER, f'{tool}\n'.encode())


def _first(names: Sequence[str], count: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f' and {len(names) - count} more' if len(names) > count else ''
    return ', '.join(repr(name) for name in names[:count]) + more
