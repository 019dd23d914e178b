"""Checks that outputs can be written before the work starts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mmbeitv2.errors import InputError


def require_writable(path: str | Path, option: str = '--out') -> None:
    """Checks that a file can be written at ``path``, and leaves nothing behind.

    Args:
        path: of the file; it may exist, and its folders need not.
        option: of the command line that named it.

    Raises:
        InputError: if it is a folder, lies below a file, or its folder cannot be written.
    """
    if not str(path):
        raise InputError(f'{option} is empty. Pass the path of a file.')
    path = Path(path)
    if path.is_dir():
        raise InputError(f'{option} {str(path)!r} is a folder. Pass the path of a file.')
    _require_writable_folder(path.parent, f'{option} {str(path)!r}')
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(
            f'{option} {str(path)!r} cannot be overwritten. Change its permissions, or choose another path.'
        )


def require_json(path: str | Path) -> None:
    """Checks that numbers can be written to ``path``, the value of ``--json``, and leaves nothing behind.

    Raises:
        InputError: if it does not end in .json, so that no other file is overwritten by mistake, or cannot be written.
    """
    if Path(path).suffix != '.json':
        raise InputError(f'--json {str(path)!r} must end in .json')
    require_writable(path, '--json')


def require_writable_folder(path: str | Path, option: str) -> None:
    """Checks that files can be written into the folder ``path``, and leaves nothing behind.

    Raises:
        InputError: if it is a file, lies below one, or cannot be written.
    """
    if not str(path):
        raise InputError(f'{option} is empty. Pass the path of a folder.')
    _require_writable_folder(Path(path), f'{option} {str(path)!r}')


def _require_writable_folder(folder: Path, named: str) -> None:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent  # the first that exists: the others are made in it
    if not folder.is_dir():
        raise InputError(f'{named} lies below {str(folder)!r}, which is not a folder. Choose another path.')
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b'\0')
    except OSError as error:
        raise InputError(
            f'{named}: cannot write to {str(folder)!r} ({error.strerror}). Choose another path.'
        ) from error
