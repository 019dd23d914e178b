"""Checks that outputs can be written before the work starts, and leaves nothing behind; writes those of JSON."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import write_atomically


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


def require_json(path: str | Path | None) -> None:
    """Likewise for ``--json``, if it is given, which must end in .json, so that no other file is overwritten."""
    if path is None:
        return
    if Path(path).suffix != '.json':
        raise InputError(f'--json {str(path)!r} must end in .json')
    require_writable(path, '--json')


def write_json(path: str | Path | None, content: object) -> None:
    """Writes JSON, whole or not at all, if a path is given."""
    if path is not None:
        write_atomically(path, (json.dumps(content, indent=1, default=float) + '\n').encode())


def require_picture(path: Path, sources: Sequence[Path]) -> None:
    """Refuses a picture that cannot be written, or lies in one of the files and folders of images it is made of."""
    require_writable(path)
    if path.suffix.lower() not in ('.png', '.jpg', '.pdf', '.svg'):
        raise InputError(f'--out {str(path)!r} must end in .png, .jpg, .pdf or .svg')
    for source in sources:
        if path.resolve().is_relative_to(source.resolve()):
            raise InputError(f'--out {str(path)!r} lies inside the images {str(source)!r}. Choose another path.')


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
