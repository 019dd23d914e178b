"""Processes for tests that need several, forked from this one, as importing the libraries takes 8 s of a core.

What is tested of the launchers, of signals and of imports needs processes of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import torch.multiprocessing as mp

from tests.conftest import ROOT, forget_former_runs, free_port, run_tool

# Where autograd has threads for GPUs, it does not work in a fork.
_METHOD = 'spawn' if torch.cuda.is_available() else 'fork'
# Once torch.export has registered a device of its own, autograd would start a thread for it as well.
torch.ones(1, requires_grad=True).backward()


def spawn(function: Callable, *args: object, nprocs: int = 2) -> None:
    """``function(rank, *args)`` in each of the processes, to their end."""
    mp.start_processes(_with_one_thread, (function, *args), nprocs, start_method=_METHOD)


def _with_one_thread(rank: int, function: Callable, *args: object) -> None:
    torch.set_num_threads(1)  # the threads of the parent are not in a fork
    function(rank, *args)


def start(function: Callable, *args: object, log: Path, **environment: str) -> BaseProcess:
    """A function in a process, and a process group, of its own, which writes to a file and sees no GPU."""
    environment = {'CUDA_VISIBLE_DEVICES': ''} | environment
    process = mp.get_context(_METHOD).Process(target=_call, args=(function, args, log, environment))
    process.start()
    return process


def _call(function: Callable, args: tuple, log: Path, environment: dict[str, str]) -> None:
    os.setsid()
    sys.stdout = sys.stderr = stream = log.open('w', buffering=1)  # pytest's are its own files
    for descriptor in (1, 2):
        os.dup2(stream.fileno(), descriptor)
    os.chdir(ROOT)
    os.environ |= environment
    torch.set_num_threads(1)
    forget_former_runs()
    function(*args)


def train(config: str, work_dir: Path, *options: str, ok: bool = True, **environment: str) -> str:
    """Runs tools/train.py; gives what it wrote."""
    arguments = ('train', config, '--work-dir', str(work_dir), *options)
    process = start(run_tool, *arguments, log=_log(work_dir, 0), **environment)
    return _ended([process], work_dir, ok)


def train_by_two(config: str, work_dir: Path, *options: str) -> str:
    """Runs tools/train.py as tools/dist_train.sh does, in two processes; gives what the first wrote."""
    group = dict(WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
    arguments = ('train', config, '--work-dir', str(work_dir), '--launcher', 'pytorch', *options)
    processes = [
        start(run_tool, *arguments, log=_log(work_dir, rank), **group, RANK=str(rank), LOCAL_RANK=str(rank))
        for rank in range(2)
    ]
    return _ended(processes, work_dir, ok=True)


def _log(work_dir: Path, rank: int) -> Path:
    return work_dir.with_name(f'{work_dir.name}.{rank}.log')


def _ended(processes: list[BaseProcess], work_dir: Path, ok: bool) -> str:
    for process in processes:
        process.join(1200)
    said = [_log(work_dir, rank).read_text() for rank in range(len(processes))]
    try:
        assert all((process.exitcode == 0) == ok for process in processes), '\n'.join(text[-2000:] for text in said)
    finally:
        for process in processes:
            process.kill()
    return said[0]
