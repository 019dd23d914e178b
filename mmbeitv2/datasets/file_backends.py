"""Files on a disk, or on object stores and web servers that one of mmengine's file backends reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from mmengine import fileio

from mmbeitv2.errors import InputError


class ReadingBackend(fileio.BaseStorageBackend):
    """Base of the backends that read images inside other files; what the addresses of this package begin with is
    ``mmbeitv2-``."""

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        return self.get(filepath).decode(encoding)


def is_remote(path: str) -> bool:
    """Whether a path has the prefix of a file backend, for example ``'s3://bucket/image.jpg'``."""
    return '://' in path


def join(folder: str, path: str) -> str:
    """Joins a folder and a path; either may be remote."""
    if is_remote(path) or not is_remote(folder) or os.path.isabs(path):
        return path if is_remote(path) else os.path.join(folder, path)
    return f'{folder.rstrip("/")}/{path}'.rstrip('/')


def backend_for(path: str, backend_args: dict | None = None) -> fileio.BaseStorageBackend:
    """The file backend of mmengine that reads a remote path.

    Raises:
        InputError: if none is registered for its prefix, or its client is not installed.
    """
    try:
        return fileio.get_file_backend(path, backend_args=backend_args, enable_singleton=True)
    except KeyError as error:
        raise InputError(
            f'no file backend of mmengine can read {path!r}. Register one for the prefix {error} '
            '(mmengine.fileio.register_backend).'
        ) from error
    except (ImportError, TypeError, ValueError) as error:
        raise InputError(f'{path!r} cannot be read: {error}') from error


def read_file(path: str, backend_args: dict | None = None) -> bytes:
    """The content of a file.

    Raises:
        OSError, InputError: with the reason, if it cannot be read.
    """
    if is_remote(path):
        backend = backend_for(path, backend_args)
        try:
            return bytes(backend.get(path))  # some give a memoryview
        except (OSError, ValueError):
            raise
        except Exception as error:  # each client has errors of its own
            raise InputError(f'{type(error).__name__}: {error}') from error
    if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe would never end
        raise InputError('it is not a regular file')
    return fileio.get(path, backend_args=backend_args)


def list_files(folder: str, extensions: Sequence[str], backend_args: dict | None = None) -> list[str]:
    """Files of a remote folder of any depth, relative to it, sorted, without hidden ones.

    Args:
        folder: with the prefix of the backend.
        extensions: that the names must have, in lower case.
        backend_args: see ``mmengine.fileio.get_file_backend``.

    Raises:
        InputError: if there is no such backend, or it cannot list or reach the folder.
    """
    backend = backend_for(folder, backend_args)
    if not hasattr(backend, 'list_dir_or_file'):
        raise InputError(
            f'{type(backend).__name__} cannot list the images of {folder!r}. List them in a file and set ann_file to '
            'it.'
        )
    try:
        found = sorted(backend.list_dir_or_file(folder, list_dir=False, recursive=True))
    except Exception as error:  # each client has errors of its own
        raise InputError(
            f'folder {folder!r} cannot be listed ({error}). Check the address and your access rights.'
        ) from error
    return [
        path
        for path in found
        if path.lower().endswith(tuple(extensions)) and not any(part.startswith('.') for part in path.split('/'))
    ]
