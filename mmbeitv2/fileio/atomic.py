"""Writes files completely or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mmengine.fileio import LocalBackend, register_backend

from mmbeitv2.errors import InputError

# How the names end of files that are being written, after the name of the file that they will be.
PARTIAL = f'.{"[0-9a-f]" * 8}.tmp'


@contextmanager
def open_atomically(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside ``path``, which is renamed to ``path`` when the block succeeds.

    After a kill, the file is either the old or the new one, and complete. If ``path`` is a symbolic link, its target is
    written. An existing file keeps its permissions.

    Raises:
        InputError: if it cannot be written, for example because the disk is full. The old file is then unchanged, and
            the temporary file is removed.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise InputError(f'cannot write {str(path)!r}, which is not a regular file. Choose another path.')
    partial = target.with_name(f'{target.name}.{secrets.token_hex(4)}.tmp')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open('xb') as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if target.is_file():
            with suppress(OSError):  # some file systems have no permissions
                shutil.copymode(target, partial)
        os.replace(partial, target)
    except BaseException as error:
        if partial.is_file():
            partial.unlink()
        if not isinstance(error, OSError):
            raise
        kept = '; the existing file is unchanged' if path.is_file() else ''
        raise cannot_write(path, error, kept) from error


def cannot_write(path: str | Path, error: OSError, kept: str = '') -> InputError:
    """The sentence about a file that cannot be written, with the reason and what is kept."""
    reason = error.strerror or error.__cause__ or error
    return InputError(f'cannot write {str(path)!r} ({reason}){kept}. Free some space, or choose another path.')


def write_atomically(path: str | Path, content: bytes) -> None:
    """Writes a file by :func:`open_atomically`."""
    with open_atomically(path) as stream:
        stream.write(content)


class AtomicBackend(LocalBackend):
    """mmengine's local files, written by :func:`write_atomically`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_atomically(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        write_atomically(filepath, obj.encode(encoding))


register_backend('mmbeitv2.AtomicBackend', AtomicBackend, force=True)
