"""The pieces of ``tools/gpu_report.sh``: each is a function that returns the rows of a table, at full or at tiny
size."""

from __future__ import annotations

import argparse
import gc
import os
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import mmbeitv2
from demo.sample_set import SHAPES, draw_scene
from mmbeitv2 import CONFIGS
from mmbeitv2_tools.benchmarks import steps
from mmbeitv2_tools.benchmarks.pipelines import measure_data

Rows = list[dict]
# Kinds of kernels by a part of their names, the first that fits; the CPU's are those of torch's operators.
KINDS = {
    'attention': 'attention|fmha|flash|mem_eff',
    'matrix products': 'gemm|gemv|cutlass|nvjet|xmma|splitk|aten::mm|aten::addmm|aten::bmm|aten::baddbmm',
    'convolutions': 'conv|cudnn',
    'optimizer': 'adam|multi_tensor|foreach',
    'norms and softmax': 'norm|softmax|reduce',
    'lookups': 'index|gather|scatter|embedding',
    'copies': 'copy|memcpy|memset|cat',
    'elementwise': 'elementwise|vectorized|triton|gelu|aten::mul|aten::add',
}
# What the host does while it waits for the GPU.
WAITS = 'cuda(Stream|Device|Event)Synchronize|cudaMemcpy(?!Async)'


def options(what: str, tiny: bool, batch_size: int, **changes: object) -> argparse.Namespace:
    """Arguments as of ``tools/benchmark.py``."""
    steps.quiet()
    settings = dict(
        what=what,
        tiny=tiny,
        batch_size=2 if tiny else batch_size,
        device='cpu' if tiny else 'cuda',
        amp='none' if tiny else 'bfloat16',
        repeats=1 if tiny else 10,
        compile=False,
        with_cp=False,
        config=Path(CONFIGS) / 'beitv2_vit-b_1600e.py',
        cfg_options=None,
        images=None,
        num_workers=0,
    )
    return argparse.Namespace(**settings | changes)


def gpu_tests(tiny: bool) -> Rows:
    """The tests that are marked ``gpu``."""
    root = Path(mmbeitv2.__file__).resolve().parents[1]
    tests = 'tests/test_models/test_backbones/test_beitv2_vit.py' if tiny else 'tests'
    command = [sys.executable, '-m', 'pytest', '-q', '-m', 'gpu', tests]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=root)
    lines = ended.stdout.strip().splitlines()
    if ended.returncode != (5 if tiny else 0):  # 5: without a GPU there are none
        raise RuntimeError('; '.join(line for line in lines if line.startswith('FAILED')) or ended.stdout[-300:])
    return [{'tests that need a GPU': lines[-1]}]


def benchmark(what: str, batch_size: int, tiny: bool, **changes: object) -> Rows:
    """``tools/benchmark.py``."""
    result = steps.measure_step(options(what, tiny, batch_size, **changes))
    rows = []
    for prefix, name in {'': what, 'slide_': f'{what}, slide', 'whole_': f'{what}, whole'}.items():
        if f'{prefix}ratio' in result:
            row = {'what': name, 'batch': result['batch_size'] if not prefix else 1, 'compiled': result['compiled']}
            keys = ('ours', 'peer', 'ratio', 'ours_memory_gib', 'memory_ratio')
            row |= {key: result[f'{prefix}{key}'] for key in keys}
            rows.append(row)
    if 'share_of_matmul_rate' in result:
        rows[0] |= {key: result[key] for key in ('matmul_tflops', 'share_of_matmul_rate')}
    return rows


def data(tiny: bool) -> Rows:
    """The data pipelines by one process and by 16."""
    rows = []
    for num_workers in (0, 2 if tiny else min(16, os.cpu_count() or 1)):
        result = measure_data(options('data', tiny, 64, repeats=1 if tiny else 5, num_workers=num_workers))
        rows.append({'by': result['device'], **{key: result[key] for key in ('ours', 'peer', 'ratio')}})
    return rows


def activation_checkpointing(tiny: bool) -> Rows:
    """Images/s and memory of pretraining and segmentation with and without ``with_cp``."""
    rows = []
    for what, batch_size in (('pretrain', 256), ('segment', 16)):
        for with_cp in (False, True):
            args = options(what, tiny, batch_size, with_cp=with_cp)
            step = steps.STEPS[what](True, args)
            step()
            if not tiny:
                torch.cuda.reset_peak_memory_stats()
            seconds = _seconds(step, args.repeats)
            memory = 'not measured' if tiny else torch.cuda.max_memory_allocated() / 2**30
            row = {'what': what, 'batch': args.batch_size, 'with_cp': with_cp}
            rows.append(row | {'images/s': args.batch_size / seconds, 'memory, GiB': memory})
            del step
            gc.collect()  # frees the model
    return rows


def _seconds(step: Callable[[], object], repeats: int) -> float:
    """Median of a step's seconds."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def where_the_time_goes(tiny: bool) -> Rows:
    """Shares of a pretraining step by kind of kernel, what GPU and host wait, and the share of the matmul rate."""
    args, num_steps = options('pretrain', tiny, 256), 1 if tiny else 5
    step = steps.pretrain_step(True, args)
    for _ in range(1 if tiny else 3):
        step()
    seconds = _seconds(step, num_steps)
    activities = [ProfilerActivity.CPU] if tiny else [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    with profile(activities=activities) as profiler:
        for _ in range(num_steps):
            step()
    kinds: dict[str, float] = defaultdict(float)
    waits = 0.0
    for event in profiler.key_averages():
        if event.is_user_annotation:  # a range of time around kernels, as Optimizer.step
            continue
        is_kernel = event.device_type == torch.autograd.DeviceType.CUDA
        if is_kernel or tiny:
            kinds[kind_of(event.key)] += (event.self_cpu_time_total if tiny else event.self_device_time_total) / 1e6
        if not is_kernel and re.search(WAITS, event.key):
            waits += event.self_cpu_time_total / 1e6
    total = sum(kinds.values())
    rate = steps.matmul_rate(args)
    done = args.batch_size * steps.PRETRAIN_GFLOP * 1e9 / seconds
    rows: Rows = [{'what': f'a step of {args.batch_size} images', 'milliseconds': 1000 * seconds}]
    for kind, value in sorted(kinds.items(), key=lambda item: -item[1]):
        rows.append({'what': kind, 'milliseconds': 1000 * value / num_steps, 'share': value / total})
    idle = max(seconds - total / num_steps, 0.0)
    rows.append({'what': 'no kernel runs', 'milliseconds': 1000 * idle, 'share': idle / seconds})
    rows.append({'what': 'the host waits', 'milliseconds': 1000 * waits / num_steps})
    rows.append({'what': f'rate, of {rate / 1e12:.3g} TFLOP/s that a large product reaches', 'share': done / rate})
    return rows


def kind_of(kernel: str) -> str:
    """Of :data:`KINDS`, or ``'others'``."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, kernel, re.IGNORECASE)), 'others')


def train(what: str, tiny: bool) -> Rows:
    """Two hundred steps on drawn scenes; the loss must fall.

    Raises:
        RuntimeError: if it does not.
    """
    args = options(what, tiny, 64)
    num_steps, window = (6, 2) if tiny else (200, 20)
    rng = np.random.default_rng(0)
    scenes = draw_scenes(8 if tiny else 512)
    losses: list[float] = []
    step = steps.STEPS[what](True, args)
    assert isinstance(step, steps.TrainingStep)
    for group in step.wrapper.param_groups:
        group['lr'] = 1e-3 if tiny else 2e-4
    for _ in range(num_steps):
        chosen = torch.from_numpy(rng.choice(len(scenes), args.batch_size, replace=False))
        step.data['inputs'] = scenes[chosen]
        losses.append(step())
    first, last = statistics.mean(losses[:window]), statistics.mean(losses[-window:])
    if not last < first:
        raise RuntimeError(f'the loss did not fall: {first:.4f} in the first {window} steps, {last:.4f} in the last')
    return [{'steps': num_steps, 'batch': args.batch_size, f'loss, first {window}': first, f'last {window}': last}]


def draw_scenes(count: int) -> Tensor:
    """Images of the sample set, (count, 3, 224, 224) uint8."""
    rng = np.random.default_rng(0)
    images = np.stack([draw_scene(rng, SHAPES[i % len(SHAPES)]).image[..., ::-1] for i in range(count)])
    scenes = torch.from_numpy(images).permute(0, 3, 1, 2)
    return F.interpolate(scenes.float(), (224, 224), mode='bilinear').round().to(torch.uint8)


PIECES: dict[str, Callable[[bool], Rows]] = {
    'tests': gpu_tests,
    **{f'pretrain_{size}': partial(benchmark, 'pretrain', size) for size in (64, 128, 256, 512)},
    **{f'pretrain_{size}_compiled': partial(benchmark, 'pretrain', size, compile=True) for size in (64, 128, 256, 512)},
    'tokenizer': partial(benchmark, 'tokenizer', 64),
    'segment': partial(benchmark, 'segment', 16),
    'data': data,
    'memory': activation_checkpointing,
    'profile': where_the_time_goes,
    'train_tokenizer': partial(train, 'tokenizer'),
    'train_pretrain': partial(train, 'pretrain'),
}
