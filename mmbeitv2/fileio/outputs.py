"""Checks that outputs can be written before the work starts, and leaves nothing behind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mmbeitv2.errors import InputError


def require_writable(path: str | Path, option: str = '--out') -> None:
    """Raises an InputError unless the file that ``option`` names can be written; its folders need not exist."""
    path = Path(path or '.')
    if path.is_dir():
        raise InputError(f'{option} {str(path)!r} is a folder. Pass the path of a file.')
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(
            f'{option} {str(path)!r} cannot be overwritten. Change its permissions, or choose another path.'
        )
    require_writable_folder(path.parent, option)


def require_json(path: str | Path) -> None:
    """Likewise for ``--json``, which must end in .json, so that no other file is overwritten by mistake."""
    if Path(path).suffix != '.json':
        raise InputError(f'--json {str(path)!r} must end in .json')
    require_writable(path, '--json')


def require_writable_folder(path: str | Path, option: str) -> None:
    """Raises an InputError unless files can be written into the folder that ``option`` names; it need not exist."""
    folder = Path(path)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent  # the first that exists: the others are made in it
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b'\0')
    except OSError as error:
        raise InputError(
            f'{option} {str(path)!r}: cannot write to {str(folder)!r} ({error.strerror}). Choose another path.'
        ) from error
