"""Folders that a tool writes and may delete again: only those that it made itself and that hold nothing else.

A tool marks each folder that it makes with a file, :data:`MARKER`, which holds the tool's name. It deletes a folder
only if the folder carries its own mark and every entry in it has a name that the tool writes. Files are deleted one by
one and folders only once they are empty, so nothing unchecked is ever deleted. Symbolic links are never followed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import PARTIAL, write_atomically

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
    marker = folder / MARKER
    mark = marker.read_text(errors='replace').strip() if marker.is_file() and not marker.is_symlink() else None
    entries = sorted(path.name for path in folder.iterdir())
    if entries and mark != tool:
        raise InputError(
            f'folder {str(folder)!r} was not made by {tool} and holds {_first(entries)}. Choose a new or an '
            'empty folder.'
        )


def claim_folder(folder: Path, tool: str) -> None:
    """Makes a folder, or takes one that is empty or the tool's own, and marks it.

    Raises:
        InputError: see :func:`require_claimable`.
    """
    require_claimable(folder, tool)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MARKER, f'{tool}\n'.encode())


def require_removable(folder: Path, tool: str, written: Sequence[str]) -> list[Path]:
    """Refuses to delete a folder that the tool did not make, or that holds something which the tool does not write.

    Args:
        folder: may be missing.
        tool: name in the mark.
        written: what the tool writes: patterns of paths relative to ``folder``, one ``fnmatch`` pattern for each part.
            What a kill left of them, see :mod:`mmbeitv2.fileio.atomic`, is included.

    Returns:
        Everything in the folder and the folder itself, in the order in which it can be deleted.

    Raises:
        InputError: naming the first entries that are in the way.
    """
    if not os.path.lexists(folder):
        return []
    if folder.is_symlink():
        raise InputError(
            f'{str(folder)!r} is a symbolic link, which {tool} does not delete. Remove it, or choose another folder.'
        )
    require_claimable(folder, tool)
    patterns = [f'{pattern}{end}'.split('/') for pattern in (*written, MARKER) for end in ('', PARTIAL)]
    found: list[Path] = []
    foreign: list[str] = []
    for root, folders, files in os.walk(folder, topdown=False):  # links to folders are listed, not followed
        for path in (Path(root, name) for name in (*files, *folders)):
            parts = path.relative_to(folder).parts
            is_folder = path.is_dir() and not path.is_symlink()
            if path.is_symlink() or not any(_is_written(parts, pattern, is_folder) for pattern in patterns):
                foreign.append(str(path.relative_to(folder)))
            found.append(path)
    if foreign:
        raise InputError(
            f'folder {str(folder)!r} would be replaced, but holds {_first(sorted(foreign))}, which {tool} did not '
            'write. Move it elsewhere, or choose another folder.'
        )
    return [*found, folder]


def remove_folder(folder: Path, tool: str, written: Sequence[str]) -> None:
    """Deletes a folder that the tool made, see :func:`require_removable`; it may be missing.

    Raises:
        InputError: if it is not the tool's, or holds something else; nothing is deleted then.
    """
    for path in require_removable(folder, tool, written):
        if path.is_dir():
            path.rmdir()  # which fails if something has come in the meantime
        else:
            path.unlink()


def _is_written(parts: Sequence[str], pattern: Sequence[str], is_folder: bool) -> bool:
    """Whether a path matches a pattern, or, for a folder, its beginning."""
    if len(parts) >= len(pattern) if is_folder else len(parts) != len(pattern):
        return False
    return all(fnmatchcase(part, wanted) for part, wanted in zip(parts, pattern, strict=False))


def _first(names: Sequence[str], count: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f' and {len(names) - count} more' if len(names) > count else ''
    return ', '.join(repr(name) for name in names[:count]) + more
