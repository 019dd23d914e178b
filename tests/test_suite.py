"""The suite itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.conftest import ROOT


def test_signals_end_what_the_suite_starts_also_where_it_was_started_with_signals_ignored() -> None:
    """As by nohup, by cron, or in the background of a script."""
    child = 'import os, signal, time; os.kill(os.getpid(), signal.{}); time.sleep(60)'
    script = (
        'import tests.conftest, subprocess, sys\n'
        f'for name in ("SIGINT", "SIGHUP"):\n'
        f'    done = subprocess.run([sys.executable, "-c", {child!r}.format(name)], stderr=subprocess.DEVNULL)\n'
        '    print(done.returncode)\n'
    )

    def ignore() -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    done = subprocess.run(
        [sys.executable, '-c', script],
        preexec_fn=ignore,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        timeout=200,
    )
    assert done.stdout.split() == [str(-signal.SIGINT), str(-signal.SIGHUP)], done.stderr[-500:]
