from __future__ import annotations

import random

import numpy as np
import pytest

from mmbeitv2.datasets import BlockMaskGenerator, RandomMaskGenerator


@pytest.mark.parametrize(
    ('grid', 'num_masked', 'min_block'), [(14, 75, 16), ((6, 8), 20, 4), (4, 15, 16), (32, 400, 16)]
)
def test_every_mask_hides_exactly_the_set_number(grid: int | tuple, num_masked: int, min_block: int) -> None:
    generator = BlockMaskGenerator(grid, num_masked, min_block)
    masks = [generator.transform({})['mask'] for _ in range(100)]
    assert {int(mask.sum()) for mask in masks} == {num_masked}
    assert masks[0].dtype == bool
    assert masks[0].shape == (np.prod(grid if isinstance(grid, tuple) else (grid, grid)),)


def test_masks_are_blocks_that_favour_no_side() -> None:
    generator = BlockMaskGenerator(14, 75, 16)
    masks = np.stack([generator.draw() for _ in range(400)])
    neighbours = (masks[:, 1:] & masks[:, :-1]).sum() / masks.sum()  # 75/196 = 0.38 for random patches
    assert neighbours > 0.7
    share = masks.mean(axis=0)  # high in the middle, where most blocks overlap, and alike on all four sides
    for other in (share[::-1], share[:, ::-1], share.T):
        assert np.abs(share - other).mean() < 0.06
    assert share.min() > 0
    assert len(np.unique(masks.reshape(400, -1), axis=0)) == 400


def test_masks_repeat_with_the_seed() -> None:
    drawn = []
    for _ in range(2):
        random.seed(3)
        drawn.append(BlockMaskGenerator().draw())
    assert np.array_equal(*drawn)


@pytest.mark.parametrize('num_masked', [0, 196])
def test_an_impossible_number_of_masked_patches_is_refused(num_masked: int) -> None:
    with pytest.raises(ValueError, match=f'num_masked={num_masked} must lie between 0 and the 196 patches'):
        BlockMaskGenerator(14, num_masked)


def test_random_masks_hide_exactly_the_set_number_without_blocks() -> None:
    generator = RandomMaskGenerator(14, 75)
    masks = np.stack([generator.transform({})['mask'] for _ in range(300)]).reshape(300, 14, 14)
    assert set(masks.sum(axis=(1, 2))) == {75}
    neighbours = (masks[:, 1:] & masks[:, :-1]).sum() / masks[:, 1:].sum()
    assert neighbours == pytest.approx(75 / 196, abs=0.02)
    assert np.abs(masks.mean(axis=0) - 75 / 196).max() < 0.12
    with pytest.raises(ValueError, match='num_masked=0'):
        RandomMaskGenerator(14, 0)
