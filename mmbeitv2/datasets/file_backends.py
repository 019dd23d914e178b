"""Files on a disk, or on object stores and web servers that one of mmengine's file backends reads."""

from __future__ import annotations

import os
import re
import stat

from mmengine import fileio

from mmbeitv2.errors import InputError, UnreadableImageError


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
        InputError: if none is registered for its prefix.
    """
    try:
        return fileio.get_file_backend(path, backend_args=backend_args, enable_singleton=True)
    except KeyError as error:
        raise InputError(
            f'no file backend of mmengine can read {path!r}. Register one for the prefix {error} '
            '(mmengine.fileio.register_backend).'
        ) from error


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


def unreadable_image(path: str, error: BaseException) -> UnreadableImageError:
    """The sentence about an image, with what its reader raised."""
    reason = getattr(error, 'strerror', None) or error
    return UnreadableImageError(f'image {path!r} cannot be read ({reason}). Remove or replace it.')


def list_files(folder: str, backend_args: dict | None = None) -> list[str]:
    """Files of a remote folder of any depth, relative to it.

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
        return list(backend.list_dir_or_file(folder, list_dir=False, recursive=True))
    except Exception as error:  # each client has errors of its own
        raise InputError(
            f'folder {folder!r} cannot be listed ({error}). Check the address and your access rights.'
        ) from error


def read_lines(path: str, kind: str, backend_args: dict | None = None) -> list[str]:
    """The lines of a text file in UTF-8, without the white space around them.

    Args:
        path: of the file.
        kind: what it is, for messages.
        backend_args: see ``mmengine.fileio.get``.

    Raises:
        InputError: naming the file or the line, if it cannot be read, is empty, or has an empty line.
    """
    try:
        text = read_file(path, backend_args).decode('utf-8-sig')
    except FileNotFoundError as error:
        raise InputError(f'{kind} {path!r} not found. Correct its path.') from error
    except (OSError, ValueError) as error:
        is_binary = isinstance(error, UnicodeDecodeError)
        reason = 'it is not UTF-8 text' if is_binary else getattr(error, 'strerror', None) or error
        raise InputError(f'{kind} {path!r} cannot be read ({reason}). It must be a text file in UTF-8.') from error
    lines = [line.strip() for line in re.split(r'\r\n?|\n', text.rstrip())]
    if lines == ['']:
        raise InputError(f'{kind} {path!r} is empty. Write one name or path per line.')
    if '' in lines:
        raise InputError(f'line {lines.index("") + 1} of {kind} {path!r} is empty. Remove the line.')
    return lines
