"""One training at a time writes to a folder, and a killed one blocks nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.locking import hold_folder
from tests.conftest import ROOT

HOLD = """
import os, signal, sys
from mmbeitv2.fileio.locking import hold_folder
hold_folder(sys.argv[1])
if os.fork() == 0:  # as a data-loading worker, which ends some time after its parent
    import time
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.1)
    time.sleep(1)
    os._exit(0)
print('held', flush=True)
signal.pause()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = subprocess.Popen([sys.executable, '-c', HOLD, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert first.stdout.readline() == 'held\n'
    with pytest.raises(InputError, match='another training is writing to .*--work-dir'):
        hold_folder(tmp_path, wait=0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    hold_folder(tmp_path)
    hold_folder(tmp_path)  # its own
