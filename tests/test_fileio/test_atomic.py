"""A file is the former one or the new one, whole, and nothing is left beside it."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmbeitv2.errors import InputError
from mmbeitv2.fileio import AtomicBackend, write_atomically
from tests.conftest import ROOT


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What ``ulimit -f`` does; a full disk fails in the same call."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_kill_while_writing_leaves_the_former_file_whole(tmp_path: Path) -> None:
    script = (
        'import os, signal, sys; from mmbeitv2.fileio import AtomicBackend; '
        'os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL); AtomicBackend().put(b"new", sys.argv[1])'
    )
    backend = AtomicBackend()
    backend.put(b'former', tmp_path / 'deep' / 'file')
    result = subprocess.run([sys.executable, '-c', script, str(tmp_path / 'deep' / 'file')], cwd=ROOT)
    assert result.returncode == -signal.SIGKILL
    assert (tmp_path / 'deep' / 'file').read_bytes() == b'former'
    backend.put_text('newer', tmp_path / 'deep' / 'file')
    assert (tmp_path / 'deep' / 'file').read_text() == 'newer'


def test_what_does_not_fit_on_the_disk_leaves_the_former_file_and_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / 'file', b'former')
    with (
        files_of_at_most(1000),
        pytest.raises(InputError, match=r"cannot write .*file' .*; the file that was there is"),
    ):
        AtomicBackend().put(bytes(100_000), tmp_path / 'file')
    assert [path.name for path in tmp_path.iterdir()] == ['file']
    assert (tmp_path / 'file').read_bytes() == b'former'


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    (tmp_path / 'folder').mkdir()
    for path in (tmp_path / 'file' / 'below', tmp_path / 'folder'):
        with pytest.raises(InputError, match=f"cannot write '{path}'"):
            write_atomically(path, b'')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'folder']
