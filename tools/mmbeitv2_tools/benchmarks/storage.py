"""Images per second from tar shards and from a folder."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from mmengine import fileio

from mmbeitv2.datasets import ImageFolder, ImageShards
from mmbeitv2.datasets.image_dataset import ImageDataset
from mmbeitv2.datasets.packing import pack_folder
from mmbeitv2_tools.benchmarks.pipelines import write_jpegs
from mmbeitv2_tools.benchmarks.timing import alternate

_MAX_IMAGES = 500


def measure_shards(args: argparse.Namespace) -> dict:
    """Images/s of shards (``ours``) and of the folder (``peer``), in random order, on one core, from the page cache.

    Without a prefix: decoded by ``LoadImage``. With ``read_``: the bytes alone.
    """
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        root = args.images
        if root is None:
            root = work / 'images'
            root.mkdir()
            write_jpegs(root, 64)
        pack_folder(root, work / 'shards', shard_size=10**9)
        datasets: dict[str, ImageDataset] = {
            'ours': ImageShards(str(work / 'shards'), pipeline=[dict(type='mmbeitv2.LoadImage')]),
            'peer': ImageFolder(str(root), pipeline=[dict(type='mmbeitv2.LoadImage')]),
        }
        chosen = np.random.default_rng(0).permutation(len(datasets['ours']))[:_MAX_IMAGES].tolist()
        result: dict = {'device': 'one CPU core', 'images': str(args.images or '500x375 JPEG'), 'count': len(chosen)}
        for prefix, load in (('', _load), ('read_', _read)):
            calls: dict[str, Callable[[], object]] = {
                name: partial(load, dataset, chosen) for name, dataset in datasets.items()
            }
            alternate(calls, 1)  # warms up
            speeds = {
                name: len(chosen) / statistics.median(values) for name, values in alternate(calls, args.repeats).items()
            }
            speeds['ratio'] = speeds['ours'] / speeds['peer']
            result |= {prefix + key: value for key, value in speeds.items()}
    return result


def _load(dataset: ImageDataset, chosen: list[int]) -> None:
    for index in chosen:
        dataset[index]


def _read(dataset: ImageDataset, chosen: list[int]) -> None:
    for index in chosen:
        fileio.get(dataset.get_data_info(index)['img_path'])
