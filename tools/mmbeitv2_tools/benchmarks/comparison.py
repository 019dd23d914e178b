"""Ours and a peer, measured in the same process."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

import torch

from mmbeitv2.errors import InputError
from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.fileio.outputs import require_json
from mmbeitv2_tools.benchmarks.pipelines import measure_data
from mmbeitv2_tools.benchmarks.steps import measure_step, quiet
from mmbeitv2_tools.benchmarks.storage import measure_shards

# What is measured -> batch size on CPU and on a GPU.
_BATCH_SIZES = {
    'tokenizer': (8, 64),
    'quantizer': (8, 64),
    'pretrain': (4, 256),
    'segment': (2, 16),
    'data': (64, 64),
    'shards': (1, 1),
}
_MEASURES: dict[str, Callable[[argparse.Namespace], dict]] = {'data': measure_data, 'shards': measure_shards}


def run_benchmark(args: argparse.Namespace) -> None:
    """Measures, shows and writes the numbers; see ``tools/benchmark.py --help`` for ``args``.

    Raises:
        InputError: if there is no such device, or the file for the numbers cannot be written.
    """
    if args.json is not None:
        require_json(args.json)
    quiet()
    args.device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise InputError('--device cuda: this machine has no GPU that torch can use. Leave the option out.')
    is_gpu = args.device == 'cuda'
    args.amp = args.amp or ('bfloat16' if is_gpu else 'none')
    args.batch_size = args.batch_size or _BATCH_SIZES[args.what][is_gpu]
    result = {'what': args.what, **_MEASURES.get(args.what, measure_step)(args)}
    for key, value in result.items():
        sys.stdout.write(f'{key:24} {f"{value:.3f}" if isinstance(value, float) else value}\n')
    if args.json is not None:
        AtomicBackend().put_text(json.dumps(result, indent=2) + '\n', args.json)
