"""Images per second of the data pipeline."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.registry import TRANSFORMS, init_default_scope

from mmbeitv2.datasets import find_images
from mmbeitv2.datasets.seeding import SampleIndex
from mmbeitv2_tools.benchmarks.models import our_config, peer_config

Transforms = list[tuple[str, Callable[[dict], dict]]]
_NUM_IMAGES = 64


def measure_data(args: argparse.Namespace, alternate: Callable[[dict, int], dict[str, float]]) -> dict:
    """Images/s of both pretraining pipelines on one core, and the milliseconds of each transform."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    result: dict = {'device': 'one CPU core', 'images': str(args.images or '500x375 JPEG')}
    calls: dict[str, Callable[[], object]] = {}
    seconds: dict[str, dict[str, float]] = {'ours': defaultdict(float), 'peer': defaultdict(float)}
    with tempfile.TemporaryDirectory() as folder:
        files = _write_jpegs(Path(folder)) if args.images is None else _spread(args.images)
        result['kilobytes_per_image'] = statistics.mean(Path(file).stat().st_size for file in files) / 1000
        for name, cfg in (('ours', our_config(args)), ('peer', peer_config())):
            init_default_scope('mmpretrain')
            pipeline = cfg.train_dataloader.dataset.pipeline
            transforms = [(step['type'].rpartition('.')[2], TRANSFORMS.build(step)) for step in pipeline]
            _load(transforms, files, defaultdict(float))  # warms up
            calls[name] = partial(_load, transforms, files, seconds[name])
        result |= {name: len(files) / median for name, median in alternate(calls, args.repeats).items()}
    result['ratio'] = result['ours'] / result['peer']
    for name, transforms_seconds in seconds.items():
        for step, total in transforms_seconds.items():
            result[f'{name}_ms_{step}'] = 1000 * total / args.repeats / len(files)
    return result


def _load(transforms: Transforms, files: list[str], seconds: dict[str, float]) -> None:
    """Loads each file; adds to the seconds of the transforms, by their names."""
    for index, file in enumerate(files):
        results = {'img_path': file, 'sample_idx': SampleIndex(index, seed=0, epoch=0)}
        for name, transform in transforms:
            start = time.perf_counter()
            results = transform(results)
            seconds[name] += time.perf_counter() - start


def _spread(folder: Path) -> list[str]:
    """Up to 64 images of a folder, evenly spread."""
    files = [str(folder / path) for path in find_images(folder)]
    return files[:: -(-len(files) // _NUM_IMAGES)]


def _write_jpegs(folder: Path) -> list[str]:
    """Pictures about as rich as photographs: noise of all sizes; about 95 KiB each (the mean of ImageNet is 110)."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(_NUM_IMAGES):
        image = np.zeros((375, 500, 3))
        for octave in range(8):
            noise = rng.normal(size=(3 << octave, 4 << octave, 3))
            image += np.asarray(cv2.resize(noise, (500, 375), interpolation=cv2.INTER_CUBIC), float) / 1.4**octave
        files.append(str(folder / f'{number}.jpg'))
        pixels = (127.5 + 55 * image).clip(0, 255).astype(np.uint8)
        cv2.imwrite(files[-1], pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return files
