"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from mmbeitv2.errors import InputError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Writes a file beside its place and renames it: a kill leaves the former file or the new one, both whole.

    Raises:
        InputError: if it cannot be written, for lack of space for instance. The former file is then still there, and
            nothing is left beside it.
    """
    path = Path(path)
    partial = path.with_name(f'{path.name}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open('wb') as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException as error:
        if partial.is_file():
            partial.unlink()
        if not isinstance(error, OSError):
            raise
        kept = '; the file that was there is unchanged' if path.is_file() else ''
        raise InputError(
            f'cannot write {str(path)!r} ({error.strerror}){kept}: free some space, or write to another place'
        ) from error


class AtomicBackend(LocalBackend):
    """mmengine's local files, written by :func:`write_atomically`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_atomically(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        write_atomically(filepath, obj.encode(encoding))


register_backend('mmbeitv2.AtomicBackend', AtomicBackend, force=True)
