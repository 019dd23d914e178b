"""One training at a time writes to a folder, and a killed one blocks nobody."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.locking import hold_folder


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        hold_folder(tmp_path)
        os.write(writer, b'held')
        signal.pause()
        os._exit(0)
    assert os.read(reader, 4) == b'held'
    with pytest.raises(InputError, match=rf'another training \(process {child} on .*\) is writing to .*--work-dir'):
        hold_folder(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / '.lock').is_file()
    hold_folder(tmp_path)
    hold_folder(tmp_path)  # its own


def test_a_child_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        hold_folder(tmp_path)
        if os.fork() == 0:  # as a data-loading worker
            os.write(writer, str(os.getpid()).encode())
            signal.pause()
        signal.pause()
    worker = int(os.read(reader, 20))
    os.kill(middle, signal.SIGKILL)
    os.waitpid(middle, 0)
    try:
        hold_folder(tmp_path)
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_file_system_without_locks_is_none_of_our_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(37, 'No locks available')

    monkeypatch.setattr(fcntl, 'lockf', unsupported)
    hold_folder(tmp_path)
