"""One writer at a time in a folder."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from mmbeitv2.errors import InputError

_held: dict[Path, FileLock] = {}  # until the process ends


def hold_folder(folder: str | Path, action: str = 'training', option: str = '--work-dir', wait: float = 10) -> None:
    """Locks a folder against other processes until this process ends, in whatever way it ends.

    On a file system without locks, this does nothing.

    Args:
        folder: made if it is missing.
        action: what the processes do, for the message.
        option: of the command line that names the folder.
        wait: seconds to wait for another process: data-loading workers of a killed run live on for five.

    Raises:
        InputError: if another process holds the folder.
    """
    path = Path(folder).resolve() / '.lock'
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _held.setdefault(path, FileLock(path))
    try:
        if not lock.is_locked:
            lock.acquire(timeout=wait)
    except Timeout as error:
        raise InputError(
            f'another {action} is writing to {str(folder)!r}. Wait for it, stop it, or choose another {option}.'
        ) from error
    except (OSError, NotImplementedError):  # no locks here
        return
