from __future__ import annotations

import torch
from mmengine.dataset import default_collate
from torch.utils.data import DataLoader, Dataset

from mmbeitv2.datasets import SeededSampler


def batches(dataset: Dataset, num_workers: int = 0, *epochs: int) -> list[dict]:
    """Batches of four images, of some epochs, by default of epoch 1."""
    sampler = SeededSampler(dataset, shuffle=True, seed=3)
    loader = DataLoader(
        dataset,
        batch_size=4,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=default_collate,
        persistent_workers=num_workers > 0,
    )
    found = []
    for epoch in epochs or (1,):
        sampler.set_epoch(epoch)
        found += list(loader)
    return found


def assert_equal(found: list[dict], expected: list[dict]) -> None:
    for batch, other in zip(found, expected, strict=True):
        assert batch.keys() == other.keys()
        assert all(torch.equal(batch[key], other[key]) for key in batch)
