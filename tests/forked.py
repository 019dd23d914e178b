"""Processes for tests that need several, forked from this one, as importing the libraries takes 8 s of a core.

What is tested of imports needs processes of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.conftest import ROOT, forget_former_runs
from tests.test_docs.forks import run_bash

# Where autograd has threads for GPUs, it does not work in a fork.
_METHOD = 'spawn' if torch.cuda.is_available() else 'fork'
# Once torch.export has registered a device of its own, autograd would start a thread for it as well.
torch.ones(1, requires_grad=True).backward()


def spawn(function: Callable, *args: object, nprocs: int = 2) -> None:
    """``function(rank, *args)`` in each of the processes, which are a group if there are several, to their end."""
    with tempfile.TemporaryDirectory() as folder:
        store = f'file://{folder}/store'
        mp.start_processes(_in_a_group, (nprocs, store, function, *args), nprocs, start_method=_METHOD)


def _in_a_group(rank: int, nprocs: int, store: str, function: Callable, *args: object) -> None:
    torch.set_num_threads(1)  # the threads of the parent are not in a fork
    if nprocs > 1:
        dist.init_process_group('gloo', init_method=store, rank=rank, world_size=nprocs)
    function(rank, *args)
    if nprocs > 1:
        dist.destroy_process_group()


def start(function: Callable, *args: object, log: Path) -> BaseProcess:
    """A function in a process, and a process group, of its own, which writes to a file and sees no GPU."""
    process = mp.get_context(_METHOD).Process(target=_call, args=(function, args, log))
    process.start()
    return process


def _call(function: Callable, args: tuple, log: Path) -> None:
    os.setsid()
    sys.stdout = sys.stderr = stream = log.open('w', buffering=1)  # pytest's are its own files
    for descriptor in (1, 2):
        os.dup2(stream.fileno(), descriptor)
    os.chdir(ROOT)
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    torch.set_num_threads(1)
    forget_former_runs()
    function(*args)


def train(config: str, work_dir: Path, *options: str, ok: bool = True) -> str:
    """Runs tools/train.py; gives what it wrote."""
    return _run(f'python tools/train.py {config} --work-dir {work_dir} {" ".join(options)}', ok)


def train_by_two(config: str, work_dir: Path, *options: str) -> str:
    """Runs tools/dist_train.sh with two processes; gives what they wrote."""
    return _run(f'bash tools/dist_train.sh {config} 2 --work-dir {work_dir} {" ".join(options)}', ok=True)


def _run(command: str, ok: bool) -> str:
    exit_code, output = run_bash(command)
    assert (exit_code == 0) == ok, output[-3000:]
    return output
