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
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, init_default_scope
from torch.utils.data import DataLoader, Dataset

from mmbeitv2.datasets import find_images
from mmbeitv2.datasets.seeding import SampleIndex
from mmbeitv2.inference.config import merge_options
from mmbeitv2_tools.benchmarks.peers import load_config, peer_config
from mmbeitv2_tools.benchmarks.timing import alternate

Transforms = list[tuple[str, Callable[[dict], dict]]]


class Loading(Dataset):
    """Images that a pipeline loads, each several times.

    Args:
        transforms: names and transforms, in order.
        files: to load.
        times: how often each is loaded.
    """

    def __init__(self, transforms: Transforms, files: list[str], times: int) -> None:
        self.transforms, self.files, self.times = transforms, files, times

    def __len__(self) -> int:
        return self.times * len(self.files)

    def __getitem__(self, index: int) -> int:
        run_pipeline(self.transforms, [self.files[index % len(self.files)]], defaultdict(float))
        return index


def _load_all(loader: DataLoader) -> None:
    for _ in loader:
        pass


def measure_data(args: argparse.Namespace) -> dict:
    """Images/s of both pipelines, on one core or by worker processes."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    ours = merge_options(load_config(args.config), args.cfg_options).train_dataloader.dataset.pipeline
    peer = Config.fromfile(str(peer_config())).train_dataloader.dataset.pipeline
    with tempfile.TemporaryDirectory() as folder:
        if args.images is None:
            images, files = '500x375 JPEG', write_jpegs(Path(folder), 64)
        else:
            images, files = str(args.images), spread(args.images, 64)
        kilobytes = statistics.mean(Path(file).stat().st_size for file in files) / 1000
        calls: dict[str, Callable[[], object]] = {}
        shares: dict[str, dict[str, float]] = {}
        for name, pipeline in (('ours', ours), ('peer', peer)):
            init_default_scope('mmpretrain')
            transforms = [(step['type'].rpartition('.')[2], TRANSFORMS.build(step)) for step in pipeline]
            shares[name] = defaultdict(float)
            if args.num_workers:
                loaded = Loading(transforms, files, times=args.num_workers)
                loader = DataLoader(loaded, batch_size=16, num_workers=args.num_workers, persistent_workers=True)
                calls[name] = partial(_load_all, loader)
                calls[name]()  # starts the workers
                continue
            run_pipeline(transforms, files, defaultdict(float))  # warms up
            calls[name] = partial(run_pipeline, transforms, files, shares[name])
        seconds = alternate(calls, args.repeats)
    count = len(files) * max(args.num_workers, 1)
    result: dict = {name: count / statistics.median(values) for name, values in seconds.items()}
    result['ratio'] = result['ours'] / result['peer']
    for name, steps in shares.items():
        milliseconds = {step: 1000 * total / args.repeats / len(files) for step, total in steps.items()}
        result |= {f'{name}_ms_{step}': value for step, value in milliseconds.items()}
    device = f'{args.num_workers} worker processes' if args.num_workers else 'one CPU core'
    return {'device': device, 'images': images, 'kilobytes_per_image': kilobytes, **result}


def spread(folder: Path, count: int) -> list[str]:
    """Up to the given number of images of a folder, evenly spread."""
    files = [str(folder / path) for path in find_images(folder)]
    return files[:: -(-len(files) // count)]


def run_pipeline(transforms: Transforms, files: list[str], seconds: dict[str, float]) -> None:
    """Loads each file; adds to the seconds of the transforms, by their names."""
    for index, file in enumerate(files):
        results = {'img_path': file, 'sample_idx': SampleIndex(index, seed=0, epoch=0)}
        for name, transform in transforms:
            start = time.perf_counter()
            results = transform(results)
            seconds[name] += time.perf_counter() - start


def write_jpegs(folder: Path, count: int) -> list[str]:
    """Pictures about as rich as photographs: noise of all sizes; about 95 KiB each (the mean of ImageNet is 110)."""
    rng = np.random.default_rng(0)
    files = []
    for i in range(count):
        image = np.zeros((375, 500, 3))
        for octave in range(8):
            noise = rng.normal(size=(3 << octave, 4 << octave, 3))
            image += np.asarray(cv2.resize(noise, (500, 375), interpolation=cv2.INTER_CUBIC), float) / 1.4**octave
        pixels = (127.5 + 55 * image).clip(0, 255).astype(np.uint8)
        files.append(str(folder / f'{i}.jpg'))
        cv2.imwrite(files[-1], pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return files
