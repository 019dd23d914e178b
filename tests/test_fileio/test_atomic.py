"""A file is the former one or the new one, whole, and nothing is left beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmbeitv2.errors import InputError
from mmbeitv2.fileio import AtomicBackend, write_atomically
from tests.conftest import ROOT, files_of_at_most


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
        pytest.raises(InputError, match=r"cannot write .*file' .*; the existing file is"),
    ):
        AtomicBackend().put(bytes(100_000), tmp_path / 'file')
    assert [path.name for path in tmp_path.iterdir()] == ['file']
    assert (tmp_path / 'file').read_bytes() == b'former'


def test_permissions_are_those_of_a_file_that_is_opened_for_writing(tmp_path: Path) -> None:
    (tmp_path / 'opened').write_bytes(b'')
    write_atomically(tmp_path / 'new', b'')
    assert (tmp_path / 'new').stat().st_mode == (tmp_path / 'opened').stat().st_mode
    (tmp_path / 'new').chmod(0o600)
    write_atomically(tmp_path / 'new', b'newer')
    assert (tmp_path / 'new').stat().st_mode & 0o777 == 0o600


def test_a_symbolic_link_stays_and_the_file_that_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / 'other').mkdir()
    for target in ('there', 'to_come'):
        (tmp_path / target).symlink_to(tmp_path / 'other' / target)
    (tmp_path / 'other' / 'there').write_bytes(b'former')
    for target in ('there', 'to_come'):
        write_atomically(tmp_path / target, b'new')
        assert (tmp_path / target).is_symlink()
        assert (tmp_path / 'other' / target).read_bytes() == b'new'
    assert len(list((tmp_path / 'other').iterdir())) == 2


def test_a_place_that_cannot_be_written_to_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    (tmp_path / 'folder').mkdir()
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path / 'file' / 'below', tmp_path / 'folder', tmp_path / 'pipe'):
        with pytest.raises(InputError, match=f"cannot write '{path}'"):
            write_atomically(path, b'')
    assert (tmp_path / 'pipe').is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'folder', 'pipe']
