"""Ours and a peer in one process, in turn: medians, their ratio, peak memory."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from torch.profiler import profile

from mmbeitv2.errors import InputError
from mmbeitv2.fileio import write_atomically
from mmbeitv2.fileio.outputs import write_json
from mmbeitv2_tools.benchmarks.steps import STEPS, Step, write_jpegs

# What is measured -> batch size on CPU and on a GPU.
_BATCH_SIZES = {'pretrain': (4, 256), 'tokenizer': (8, 64), 'segment': (2, 16), 'data': (64, 64)}


def run_benchmark(args: argparse.Namespace) -> None:
    """Measures, shows and writes the numbers; see ``tools/benchmark.py --help`` for ``args``.

    Raises:
        InputError: if there is no such device.
    """
    is_gpu = torch.cuda.is_available() and args.device != 'cpu' and args.what != 'data'
    if args.device == 'cuda' and not is_gpu:
        raise InputError('--device cuda: there is no GPU that torch can use, or none is needed. Leave the option out.')
    args.device = 'cuda' if is_gpu else 'cpu'
    args.amp = args.amp or ('bfloat16' if is_gpu else 'none')
    args.batch_size = args.batch_size or _BATCH_SIZES[args.what][is_gpu]
    _quiet()
    if args.profile is not None:
        write_atomically(args.profile, _profile(args).encode())
        return
    with tempfile.TemporaryDirectory() as folder:
        if args.what == 'data' and args.images is None:
            args.images = Path(folder)
            write_jpegs(args.images, args.batch_size)
        numbers = compare(args.what, args)
    for way in ('slide', 'whole') if args.what == 'segment' else ():
        numbers |= {f'{way}_{key}': value for key, value in compare(way, args).items()}
    device = torch.cuda.get_device_name() if is_gpu else f'CPU, {torch.get_num_threads()} threads'
    settings = {'batch_size': args.batch_size, 'amp': args.amp, 'compiled': args.compile}
    result = {'what': args.what, 'device': device, **settings, **numbers}
    for key, value in result.items():
        sys.stdout.write(f'{key:24} {f"{value:.3f}" if isinstance(value, float) else value}\n')
    write_json(args.json, result)


def compare(name: str, args: argparse.Namespace) -> dict[str, float]:
    """Images/s of both, of a step of :data:`STEPS`, the peak memory of models, and the ratios."""
    memory, steps = {}, {}
    for side in ('ours', 'peer'):
        if args.device == 'cpu' and name != 'data':  # a pipeline's memory is that of its libraries
            memory[side] = peak_of_process(name, side == 'ours', args)
        if args.device == 'cuda':
            before = torch.cuda.memory_allocated()
        steps[side] = STEPS[name](side == 'ours', args)
        for _ in range(3 if args.device == 'cuda' else 1):
            steps[side]()
        if args.device == 'cuda':
            torch.cuda.reset_peak_memory_stats()
            steps[side]()
            memory[side] = torch.cuda.max_memory_allocated() - before
    result = alternate(steps, args.repeats)
    steps.clear()
    gc.collect()  # frees the models
    result['ratio'] = result['ours'] / result['peer']
    if memory:
        result |= {f'{side}_memory_gib': value / 2**30 for side, value in memory.items()}
        result['memory_ratio'] = memory['ours'] / memory['peer']
    return result


def alternate(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """Median of the images/s of each, the steps taking turns."""
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            num_images = step()
            rates[name].append(num_images / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in rates.items()}


def peak_of_process(name: str, is_ours: bool, args: argparse.Namespace) -> int:
    """Largest resident memory in bytes of a process that takes two steps."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(_peak_of_this_process, (name, is_ours, args))


def _peak_of_this_process(name: str, is_ours: bool, args: argparse.Namespace) -> int:
    _quiet()
    step = STEPS[name](is_ours, args)
    step()
    step()
    found = re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())
    assert found is not None
    return 1024 * int(found[1])


def _profile(args: argparse.Namespace) -> str:
    """The operators in which our step spends its time."""
    step = STEPS[args.what](True, args)
    step()
    with profile() as profiler:
        step()
    return profiler.key_averages().table(sort_by=f'self_{args.device}_time_total', row_limit=20)


def _quiet() -> None:
    """Keeps mmengine from listing each initialized weight."""
    MMLogger.get_instance('benchmark', log_level='WARNING')
