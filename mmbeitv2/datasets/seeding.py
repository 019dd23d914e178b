"""Randomness that depends only on the sample.

Every random draw of a training pipeline is a function of (seed, epoch, index of the sample): the number of workers, the
number of processes and a resume change nothing. The sampler says which epoch it is, the first transform seeds the
generators that transforms draw from.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import DefaultSampler, InfiniteSampler

from mmbeitv2.errors import InputError
from mmbeitv2.registry import DATA_SAMPLERS, TRANSFORMS


class SampleIndex(int):
    """Index of a sample that also carries the seed of the run and the epoch; it is passed to the workers like any other
    index.

    ``ConcatDataset`` and ``RepeatDataset`` shift indices and take remainders; both keep the seed and the epoch.
    ``ClassBalancedDataset`` looks the index up in a list, which loses them.
    """

    seed: int
    epoch: int

    def __new__(cls, index: int, seed: int, epoch: int) -> SampleIndex:
        self = super().__new__(cls, index)
        self.seed, self.epoch = seed, epoch
        return self

    def __reduce__(self) -> tuple:
        return SampleIndex, (int(self), self.seed, self.epoch)

    def __sub__(self, other: int) -> SampleIndex:
        return SampleIndex(int(self) - other, self.seed, self.epoch)

    def __mod__(self, other: int) -> SampleIndex:
        return SampleIndex(int(self) % other, self.seed, self.epoch)


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` with indices that carry the epoch."""

    def __iter__(self) -> Iterator[SampleIndex]:
        return iter([SampleIndex(index, self.seed, self.epoch) for index in super().__iter__()])


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(InfiniteSampler):
    """mmengine's ``InfiniteSampler`` with indices that carry the number of the pass over the dataset."""

    def _infinite_indices(self) -> Iterator[SampleIndex]:
        for position, index in enumerate(super()._infinite_indices()):
            yield SampleIndex(index, self.seed, position // self.size)


@TRANSFORMS.register_module()
class SeedSample(BaseTransform):
    """Seeds NumPy, ``random`` and torch from the seed of the run, the epoch and the index of the sample.

    Put it first in a pipeline.

    Args:
        is_fixed: use the same seeds in each epoch, for evaluation; this works with any sampler.
    """

    def __init__(self, is_fixed: bool = False) -> None:
        self.is_fixed = is_fixed

    def transform(self, results: dict) -> dict:
        index = results['sample_idx']
        if self.is_fixed:
            key = [int(index)]
        elif isinstance(index, SampleIndex):
            key = [index.seed, index.epoch, int(index)]
        else:
            raise InputError(
                'mmbeitv2.SeedSample needs to know the epoch. Set sampler.type of the dataloader to '
                'mmbeitv2.SeededSampler or mmbeitv2.SeededInfiniteSampler, use no ClassBalancedDataset around the '
                'dataset, or set is_fixed=True for evaluation.'
            )
        numpy_seed, python_seed, torch_seed = np.random.SeedSequence(key).generate_state(3).tolist()
        np.random.seed(numpy_seed)
        random.seed(python_seed)
        torch.default_generator.manual_seed(
            torch_seed
        )  # torch.manual_seed would look for GPUs, and is slow in a worker
        return results


@contextmanager
def generators_kept() -> Iterator[None]:
    """Restores the state of the random generators of Python, of NumPy and of torch on the CPU afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
