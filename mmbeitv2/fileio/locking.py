"""One writer at a time in a folder."""

from __future__ import annotations

import fcntl
import os
import socket
from io import TextIOWrapper
from pathlib import Path

from mmbeitv2.errors import InputError

_held: dict[Path, TextIOWrapper] = {}  # until the process ends


def hold_folder(folder: str | Path, action: str = 'training', option: str = '--work-dir') -> None:
    """Keeps other processes from holding the same folder until this one ends, however it ends.

    The lock belongs to the process and not to the file ``.lock``, so one that a killed run left behind blocks nobody.
    Where the file system has no locks, nothing happens.

    Args:
        folder: made if it is missing.
        action: what the processes do, for the message.
        option: of the command line that names the folder.

    Raises:
        InputError: if another process holds the folder.
    """
    path = Path(folder).resolve() / '.lock'
    if path in _held:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open('a+')
    try:
        # Of the kind that child processes do not inherit: data-loading workers may outlive a killed run for seconds.
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        stream.seek(0)
        holder = stream.read().strip() or 'unknown'
        stream.close()
        raise InputError(
            f'another {action} ({holder}) is writing to {str(folder)!r}: wait for it, end it, or give another {option}'
        ) from error
    except OSError:  # no locks here
        stream.close()
        return
    stream.truncate(0)
    stream.write(f'process {os.getpid()} on {socket.gethostname()}\n')
    stream.flush()
    _held[path] = stream
