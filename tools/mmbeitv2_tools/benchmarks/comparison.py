"""Ours and a peer in one process, in turn: medians, their ratio, peak memory."""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from torch.profiler import ProfilerActivity, profile

from mmbeitv2.errors import InputError
from mmbeitv2.fileio import write_atomically
from mmbeitv2_tools.benchmarks.models import STEPS
from mmbeitv2_tools.benchmarks.pipelines import measure_data

# What is measured -> batch size on CPU and on a GPU.
_BATCH_SIZES = {'pretrain': (4, 256), 'tokenizer': (8, 64), 'segment': (2, 16), 'data': (64, 64)}


def run_benchmark(args: argparse.Namespace) -> None:
    """Measures, shows and writes the numbers; see ``tools/benchmark.py --help`` for ``args``.

    Raises:
        InputError: if there is no such device, or no such folder for the numbers.
    """
    for option, path in (('--json', args.json), ('--profile', args.profile)):
        if path is not None and not path.parent.is_dir():
            raise InputError(f'{option} {str(path)!r}: there is no folder {str(path.parent)!r}. Make it first.')
    args.device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise InputError('--device cuda: this machine has no GPU that torch can use. Leave the option out.')
    is_gpu = args.device == 'cuda'
    args.amp = args.amp or ('bfloat16' if is_gpu else 'none')
    args.batch_size = args.batch_size or _BATCH_SIZES[args.what][is_gpu]
    _quiet()
    if args.profile is not None:
        write_atomically(args.profile, _profile(args).encode())
        return
    result = {'what': args.what, **(measure_data(args, alternate) if args.what == 'data' else _measure_steps(args))}
    for key, value in result.items():
        sys.stdout.write(f'{key:24} {f"{value:.3f}" if isinstance(value, float) else value}\n')
    if args.json is not None:
        write_atomically(args.json, (json.dumps(result, indent=2) + '\n').encode())


def alternate(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median of the seconds of each call, the calls taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _measure_steps(args: argparse.Namespace) -> dict:
    """Of a training step; of segmentation, also of segmenting one image in both ways."""
    device = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    result: dict = {'device': device, 'batch_size': args.batch_size, 'amp': args.amp, 'compiled': args.compile}
    result |= _compare(args.what, args.batch_size, args)
    if args.what == 'segment':
        for mode in ('slide', 'whole'):
            result |= {f'{mode}_{key}': value for key, value in _compare(mode, 1, args).items()}
    return result


def _compare(name: str, num_images: int, args: argparse.Namespace) -> dict:
    """Images/s and peak memory of both, and their ratios, of a step of :data:`STEPS`."""
    memory, steps = {}, {}
    for side in ('ours', 'peer'):
        if args.device == 'cpu':
            memory[side] = peak_of_process(name, side == 'ours', args)
        else:
            before = torch.cuda.memory_allocated()
        steps[side] = STEPS[name](side == 'ours', args)
        for _ in range(3 if args.device == 'cuda' else 1):
            steps[side]()
        if args.device == 'cuda':
            torch.cuda.reset_peak_memory_stats()
            steps[side]()
            memory[side] = torch.cuda.max_memory_allocated() - before
    result = {side: num_images / seconds for side, seconds in alternate(steps, args.repeats).items()}
    steps.clear()
    gc.collect()  # frees the models
    result['ratio'] = result['ours'] / result['peer']
    result |= {f'{side}_memory_gib': value / 2**30 for side, value in memory.items()}
    return result | {'memory_ratio': memory['ours'] / memory['peer']}


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
    for _ in range(3):
        step()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (args.device == 'cuda')
    with profile(activities=activities) as profiler:
        for _ in range(args.repeats):
            step()
    by = f'self_{args.device}_time_total'
    return profiler.key_averages().table(sort_by=by, row_limit=20, max_name_column_width=60)


def _quiet() -> None:
    """Keeps mmengine from listing each initialized weight."""
    MMLogger.get_instance('benchmark', log_level='WARNING')
