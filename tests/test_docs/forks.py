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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

import torch
from mmengine.utils import ManagerMixin

CLIENT = """#!{python} -SE
import json, os, socket, sys
if sys.argv[1:2] == ['-m'] and sys.argv[2].partition('.')[0] not in ('demo', 'mmbeitv2', 'tests', 'torch'):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = json.dumps(dict(argv=sys.argv[1:], cwd=os.getcwd(), env=dict(os.environ))).encode()
    socket.send_fds(server, [len(request).to_bytes(8, 'big')], [0, 1, 2])
    server.sendall(request)
    answer = server.recv(4)
sys.exit(int.from_bytes(answer, 'big') if answer else 1)
"""


class ForkingShell:
    """Runs bash scripts whose ``python`` is a fork of this process.

    Args:
        folder: for the client and the socket; its path must be short.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / 'socket'))
        self._listener.listen()
        for name in 'python', 'python3':
            client = folder / name
            client.write_text(CLIENT.format(python=sys.executable, address=str(folder / 'socket')))
            client.chmod(0o755)

    def run(
        self,
        script: str,
        cwd: Path,
        env: dict[str, str],
        setting: Callable[[], AbstractContextManager[object]],
        command_line: Callable[[list[str]], list[str]],
        timeout: float,
    ) -> tuple[int, str]:
        """Runs a script, which ends at the first command that fails.

        Args:
            script: in bash.
            cwd: where to run it.
            env: its environment.
            setting: entered in each fork before the program is run.
            command_line: changes the arguments of Python.
            timeout: in seconds.

        Returns:
            The exit code, and what was written to standard output and standard error.
        """
        output = self.folder / 'output'
        env = env | {'PATH': f'{self.folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{env["PATH"]}'}
        ends = time.monotonic() + timeout
        forks: dict[int, socket.socket] = {}
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
                    os.killpg(shell.pid, signal.SIGKILL)
                    for pid in forks:
                        os.kill(pid, signal.SIGKILL)
                    stream.write(f'\nstill running after {timeout:.0f} s'.encode())
                if select.select([self._listener], [], [], 0.01)[0]:
                    self._fork(forks, setting, command_line)
                _answer(forks)
        code = shell.returncode
        while forks:
            _answer(forks)
            time.sleep(0.01)
        return code, output.read_text(errors='replace')

    def close(self) -> None:
        self._listener.close()

    def _fork(
        self,
        forks: dict[int, socket.socket],
        setting: Callable[[], AbstractContextManager[object]],
        command_line: Callable[[list[str]], list[str]],
    ) -> None:
        client, _ = self._listener.accept()
        size, files, _, _ = socket.recv_fds(client, 8, 3)
        request = b''
        while len(request) < int.from_bytes(size, 'big'):
            request += client.recv(65536)
        pid = os.fork()
        if pid == 0:
            _become(files, setting, command_line, **json.loads(request))
        for file in files:
            os.close(file)
        forks[pid] = client


def _answer(forks: dict[int, socket.socket]) -> None:
    """Tells the clients whose program has ended its exit code."""
    for pid in list(forks):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            with forks.pop(pid) as client, contextlib.suppress(OSError):
                client.sendall((code if code >= 0 else 128 - code).to_bytes(4, 'big'))


def _become(
    files: list[int],
    setting: Callable[[], AbstractContextManager[object]],
    command_line: Callable[[list[str]], list[str]],
    argv: list[str],
    cwd: str,
    env: dict[str, str],
) -> NoReturn:
    """Turns this process, a fork, into a program of Python."""
    code = 1
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
        sys.stdin, sys.stdout, sys.stderr = (open(number, mode, buffering=1) for number, mode in enumerate('rww'))  # noqa: SIM115
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        gc.freeze()  # mmengine collects garbage often, and need not look through all that is imported
        forget_the_past()
        torch.set_num_threads(1)  # the threads of the parent are not in the fork
        with setting():
            _run_program(command_line(argv))
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
        os._exit(code)


def forget_the_past() -> None:
    """What a new process would not have: mmengine's loggers, visualizers and scopes, and pytest's handlers of logs."""
    for manager in _managers(ManagerMixin):
        manager._instance_dict.clear()
    logging.getLogger().handlers.clear()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _managers(parent: type) -> Iterator[type]:
    for child in parent.__subclasses__():
        yield child
        yield from _managers(child)


def _run_program(argv: list[str]) -> None:
    while argv and argv[0] in ('-u', '-q', '-B'):
        argv = argv[1:]
    if not argv:
        raise SystemExit('python without a program is not supported here')
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
