from __future__ import annotations

import pickle
import random
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import ClassBalancedDataset, InfiniteSampler, RepeatDataset
from mmengine.registry import init_default_scope
from torch.utils.data import ConcatDataset

from mmbeitv2.datasets import ImageFolder, SeededInfiniteSampler, SeededSampler, SeedSample
from mmbeitv2.datasets.seeding import SampleIndex
from tests.test_datasets.conftest import assert_equal, batches

PIPELINE = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='RandomResizedCrop', scale=32),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmbeitv2.DrawColorJitter'),
    dict(type='mmbeitv2.BlockMaskGenerator', grid_size=4, num_masked=6, min_block=2),
    dict(type='mmbeitv2.PackMaskedImage'),
]


@pytest.fixture
def dataset(image_folder: Path) -> ImageFolder:
    init_default_scope('mmpretrain')
    return ImageFolder(data_root=str(image_folder), pipeline=PIPELINE)


def test_workers_and_what_came_before_change_nothing(dataset: ImageFolder) -> None:
    expected = batches(dataset, 0, 0, 1)
    assert expected[0].keys() == {'inputs', 'mask', 'jitter'}
    for num_workers, epochs in ((3, (0, 1)), (1, (1,)), (0, (1,))):
        found = batches(dataset, num_workers, *epochs)
        assert_equal(found, expected[-len(found) :])


def test_epochs_and_images_differ(dataset: ImageFolder) -> None:
    first, second = (dataset[SampleIndex(5, seed=0, epoch=epoch)] for epoch in (0, 1))
    assert not torch.equal(first['inputs'], second['inputs'])
    assert not torch.equal(first['jitter'], second['jitter'])
    assert not torch.equal(dataset[SampleIndex(6, seed=0, epoch=0)]['jitter'], first['jitter'])
    assert not torch.equal(dataset[SampleIndex(5, seed=1, epoch=0)]['jitter'], first['jitter'])


def test_ranks_together_see_what_one_sees(dataset: ImageFolder) -> None:
    def indices(rank: int, world_size: int) -> list[int]:
        sampler = SeededSampler(dataset, seed=1)
        sampler.rank, sampler.world_size = rank, world_size
        sampler.num_samples = len(dataset) // world_size
        return list(sampler)

    one, two = indices(0, 1), (indices(0, 2), indices(1, 2))
    assert [index for pair in zip(*two, strict=True) for index in pair] == one
    assert two[1][3].seed == 1


def test_an_infinite_sampler_counts_passes(dataset: ImageFolder) -> None:
    indices = list(islice(SeededInfiniteSampler(dataset, seed=0), 40))
    assert [index.epoch for index in indices] == [0] * 16 + [1] * 16 + [2] * 8
    assert sorted(indices[:16]) == list(range(16))


@pytest.mark.skipif(
    not hasattr(InfiniteSampler, 'skip'),
    reason='upstream mmengine has no InfiniteSampler.skip: a resume reads the images of the former steps again',
)
def test_an_infinite_sampler_skips(dataset: ImageFolder) -> None:
    resumed = SeededInfiniteSampler(dataset, seed=0)
    resumed.skip(20)
    expected = islice(SeededInfiniteSampler(dataset, seed=0), 20, 40)
    for after, index in zip(islice(resumed, 20), expected, strict=True):
        assert (int(after), after.epoch) == (int(index), index.epoch)


def test_an_index_keeps_what_it_knows_through_pickle_and_wrappers(dataset: ImageFolder) -> None:
    index = pickle.loads(pickle.dumps(SampleIndex(7, seed=2, epoch=5)))
    assert (index, index.seed, index.epoch) == (7, 2, 5)
    expected = dataset[SampleIndex(3, seed=2, epoch=5)]['jitter']
    assert torch.equal(ConcatDataset([dataset, dataset])[SampleIndex(19, seed=2, epoch=5)]['jitter'], expected)
    dataset.get_cat_ids = lambda index: [index % 2]
    balanced = ClassBalancedDataset(dataset, oversample_thr=1e-3)
    with pytest.raises(ValueError, match='use no ClassBalancedDataset'):
        balanced[SampleIndex(3, seed=2, epoch=5)]
    assert torch.equal(RepeatDataset(dataset, times=2)[SampleIndex(19, seed=2, epoch=5)]['jitter'], expected)


def test_a_sampler_that_does_not_know_the_epoch_is_refused_unless_fixed() -> None:
    with pytest.raises(ValueError, match=r'Set sampler.type of the dataloader to mmbeitv2.SeededSampler'):
        SeedSample()({'sample_idx': 3})

    def draws() -> tuple[float, float, float]:
        SeedSample(is_fixed=True)({'sample_idx': 3})
        return np.random.rand(), random.random(), torch.rand(1).item()

    assert draws() == draws()
