"""bash, with a ``python`` that is a fork of this process.

Importing torch and OpenMMLab takes some seconds, which every command of a shell script would spend again. Here the
``python`` on the script's PATH is a small client. It sends its arguments, environment and open files to this process,
which has everything imported, forks, and runs the program in the fork.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch

from tests.conftest import forget_former_runs

CLIENT = """#!{python} -SE
import json, os, socket, sys
if sys.argv[1:2] == ['-m'] and sys.argv[2].partition('.')[0] not in ('demo', 'mmbeitv2', 'tests', 'torch'):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    socket.send_fds(server, [json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()], [0, 1, 2])
    answer = server.recv(1)
sys.exit(answer[0] if answer else 1)
"""


class ForkingShell:
    """Runs bash scripts whose ``python`` is a fork of this process.

    Args:
        folder: for the client and the socket; its path must be short.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(folder / 'socket'))
        self._listener.listen()
        for name in 'python', 'python3':
            client = folder / name
            client.write_text(CLIENT.format(python=sys.executable, address=str(folder / 'socket')))
            client.chmod(0o755)

    def run(
        self, script: str, cwd: Path, env: dict[str, str], program: Callable[[list[str]], None], timeout: float
    ) -> tuple[int, str]:
        """Runs a script, which ends at the first command that fails.

        Args:
            script: in bash.
            cwd: where to run it.
            env: its environment.
            program: called in each fork with the arguments of Python, as :func:`run_program`.
            timeout: in seconds.

        Returns:
            The exit code, and what was written to standard output and standard error.
        """
        output = self.folder / 'output'
        env = env | {'PATH': f'{self.folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{env["PATH"]}'}
        ends = time.monotonic() + timeout
        forks: list[int] = []
        with output.open('wb') as stream:
            shell = subprocess.Popen(
                ['bash', '-euo', 'pipefail', '-c', script],
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
            while shell.poll() is None:
                if time.monotonic() > ends:
                    for pid in (shell.pid, *forks):
                        os.killpg(pid, signal.SIGKILL)
                    stream.write(f'\nstill running after {timeout:.0f} s'.encode())
                elif select.select([self._listener], [], [], 0.01)[0]:
                    client, _ = self._listener.accept()
                    pid = os.fork()
                    if pid == 0:
                        _become(client, program)
                    client.close()
                    forks.append(pid)
        for pid in forks:
            os.waitpid(pid, 0)
        return shell.returncode, output.read_text(errors='replace')

    def close(self) -> None:
        self._listener.close()


def _become(client: socket.socket, program: Callable[[list[str]], None]) -> NoReturn:
    """Turns this process, a fork, into a program of Python, and tells the client its exit code."""
    code = 1
    try:
        os.setsid()
        request, files, _, _ = socket.recv_fds(client, 2**20, 3)
        argv, cwd, env = json.loads(request)
        for number, file in enumerate(files):
            os.dup2(file, number)
        sys.stdin, sys.stdout, sys.stderr = (open(number, mode, buffering=1) for number, mode in enumerate('rww'))  # noqa: SIM115
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        gc.freeze()  # mmengine collects garbage often, and need not look through all that is imported
        forget_former_runs()
        logging.getLogger().handlers.clear()  # pytest's
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(1)  # the threads of the parent are not in the fork
        program(argv)
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f'{end.code}\n')
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
            client.send(bytes([code]))
        os._exit(code)


def run_program(argv: list[str]) -> None:
    """Runs a script, a module, or code, as Python does with these arguments."""
    if argv[0] == '-m':
        sys.argv, sys.path[0] = argv[1:], os.getcwd()
        runpy.run_module(argv[1], run_name='__main__', alter_sys=True)
    elif argv[0] in ('-c', '-'):
        sys.argv, sys.path[0] = [argv[0], *argv[1 + (argv[0] == '-c') :]], os.getcwd()
        code = argv[1] if argv[0] == '-c' else sys.stdin.read()
        exec(compile(code, '<string>', 'exec'), {'__name__': '__main__'})
    else:
        sys.argv, sys.path[0] = argv, str(Path(argv[0]).resolve().parent)
        runpy.run_path(argv[0], run_name='__main__')
