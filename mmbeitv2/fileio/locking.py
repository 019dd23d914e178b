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
    """Locks a folder against other processes until this process ends, in whatever way it ends.

    The lock belongs to the process and not to the file ``.lock``, so the file of a killed run blocks nobody. On a file
    system without locks, this does nothing.

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
            f'another {action} ({holder}) is writing to {str(folder)!r}. Wait for it, stop it, or choose another '
            f'{option}.'
        ) from error
    except OSError:  # no locks here
        stream.close()
        return
    stream.truncate(0)
    stream.write(f'process {os.getpid()} on {socket.gethostname()}\n')
    stream.flush()
    _held[path] = stream
