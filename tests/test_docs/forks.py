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
import multiprocessing
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path

import torch

from tests.conftest import ROOT, forget_former_runs

CLIENT = """#!{python} -SE
import json, os, socket, sys
if sys.argv[1:2] == ['-m'] and sys.argv[2].partition('.')[0] not in ('demo', 'mmbeitv2', 'mmbeitv2_tools', 'torch'):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    socket.send_fds(server, [json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()], [0, 1, 2])
    answer = server.recv(1)
sys.exit(answer[0] if answer else 1)
"""


def run_bash(
    script: str,
    cwd: Path = ROOT,
    env: dict[str, str] | None = None,
    program: Callable[[list[str]], None] | None = None,
    timeout: float = 300,
) -> tuple[int, str]:
    """Runs a script of bash, which ends at the first command that fails.

    Args:
        script: in bash.
        cwd: where to run it.
        env: variables beside those of this process.
        program: called in each fork with the arguments of Python; by default :func:`run_program`.
        timeout: in seconds.

    Returns:
        The exit code, and what was written to standard output and standard error.
    """
    with tempfile.TemporaryDirectory(prefix='forks-') as folder:  # the path of a socket must be short
        return _run_bash(Path(folder), script, cwd, env or {}, program or run_program, timeout)


def _run_bash(
    folder: Path, script: str, cwd: Path, env: dict[str, str], program: Callable[[list[str]], None], timeout: float
) -> tuple[int, str]:
    address = str(folder / 'socket')
    # Where autograd has threads for GPUs, it does not work in a fork.
    for name in () if program is run_program and torch.cuda.is_available() else ('python', 'python3'):
        (folder / name).write_text(CLIENT.format(python=sys.executable, address=address))
        (folder / name).chmod(0o755)
    path = f'{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    env = os.environ | dict(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1') | env | dict(PATH=path)
    ends, forks = time.monotonic() + timeout, {}
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        (folder / 'output').open('w+', errors='replace') as output,
    ):
        listener.bind(address)
        listener.listen()
        command = ['bash', '-euo', 'pipefail', '-c', script]
        files = dict(stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        shell = subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True, **files)
        while shell.poll() is None and time.monotonic() < ends:
            for ready in wait([listener, *forks], 0.01):
                if ready is listener:
                    client, _ = listener.accept()
                    fork = multiprocessing.get_context('fork').Process(target=_become, args=(client, program))
                    fork.start()
                    forks[fork.sentinel] = fork, client
                else:
                    fork, client = forks.pop(ready)
                    fork.join()
                    with contextlib.suppress(BrokenPipeError):  # torchrun ends the others when one fails
                        client.send(bytes([fork.exitcode % 256]))
                    client.close()
        if shell.poll() is None:
            for pid in (shell.pid, *(fork.pid for fork, _ in forks.values())):
                os.killpg(pid, signal.SIGKILL)
            output.write(f'\nstill running after {timeout:.0f} s')
        for fork, _ in forks.values():
            fork.join(60)
            fork.kill()
        output.seek(0)
        return shell.wait(), output.read()


def _become(client: socket.socket, program: Callable[[list[str]], None]) -> None:
    """Turns this process, a fork, into the program that a client asks for."""
    os.setsid()
    request, files, _, _ = socket.recv_fds(client, 2**20, 3)
    argv, cwd, env = json.loads(request)
    for number, file in enumerate(files):
        os.dup2(file, number)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode, buffering=1) for number, mode in enumerate('rww'))  # noqa: SIM115
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.executable = str(shutil.which('python'))  # so that what it starts is a fork as well
    gc.freeze()  # mmengine collects garbage often, and need not look through all that is imported
    forget_former_runs()
    logging.getLogger().handlers.clear()  # pytest's
    torch.set_num_threads(1)  # the threads of the parent are not in the fork
    program(argv)


def run_program(argv: list[str]) -> None:
    """Runs a script, a module, or code, as Python does with these arguments."""
    if argv[0] == '-u':
        argv = argv[1:]
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
