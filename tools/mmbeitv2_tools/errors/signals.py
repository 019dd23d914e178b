"""Turns signals into exceptions, so that a program cleans up before it ends, and ends even if it hangs."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Seconds that a program has to tidy up in. Blocked in a library's C++ code, it cannot even begin to.
GRACE = 10.0
ENDING = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name))
_PR_SET_PDEATHSIG = 1


class EndedBySignalError(BaseException):
    """A signal told the program to end; like KeyboardInterrupt, it is no error that code should handle."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def signals_as_exceptions(last_word: Callable[[int], None]) -> Iterator[None]:
    """Within it, SIGINT, SIGTERM and SIGHUP raise :class:`EndedBySignalError`, once; the process ends within ``GRACE``.

    Processes that are forked meanwhile do not inherit this: they leave Ctrl-C, which the terminal sends to all, to
    this one. A signal that is ignored (nohup) stays ignored. Outside the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former: dict[int, Any] = {}

    def end(number: int, frame: FrameType | None) -> None:
        for other in former:
            signal.signal(other, signal.SIG_IGN)
        raise EndedBySignalError(number)

    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            former[number] = signal.signal(number, end)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    former_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    left = threading.Event()
    watcher = threading.Thread(target=_force_end, args=(reader, left, last_word), daemon=True)
    watcher.start()
    _active.append(writer)
    try:
        yield
    finally:
        _active.remove(writer)
        left.set()
        signal.set_wakeup_fd(former_fd)
        os.write(writer, b'\0')  # wakes the watcher
        watcher.join()
        os.close(reader)
        os.close(writer)
        for number, handler in former.items():
            signal.signal(number, handler)


def _force_end(reader: int, left: threading.Event, last_word: Callable[[int], None]) -> None:
    """Waits for a signal, then for the block to be left; ends the process where that takes too long."""
    while not left.is_set():
        number = os.read(reader, 1)[0]
        if number in ENDING and not left.wait(GRACE):
            last_word(number)
            os._exit(128 + number)


# Blocks that this process is in, by the end of their pipe.
_active: list[int] = []


def _reset_in_child() -> None:
    """Gives a forked process the signals' default actions; Ctrl-C, which the terminal sends to all, is its parent's."""
    if _active:
        _active.clear()
        signal.set_wakeup_fd(-1)
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_reset_in_child)


def end_with_parent(parent: int) -> None:
    """Makes this process get SIGTERM when its parent dies, even by SIGKILL; Linux only.

    Args:
        parent: its process id. If it is dead already, this process ends now.
    """
    if sys.platform == 'linux':
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            raise EndedBySignalError(signal.SIGTERM)
