from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms import ColorJitter

from mmbeitv2.datasets import BlockMaskGenerator, DrawColorJitter, LoadImage, PackMaskedImage, RandomMaskGenerator
from mmbeitv2.errors import UnreadableImageError
from mmbeitv2.models.preprocessor import jitter_colors


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


def test_jitter_is_distributed_as_torchvisions() -> None:
    transform, reference = DrawColorJitter(0.4, 0.3, 0.2), ColorJitter(0.4, 0.3, 0.2)
    drawn = np.stack([transform.transform({})['jitter'] for _ in range(4000)])
    theirs = np.empty_like(drawn)
    for i in range(4000):
        order, *factors = reference.get_params(reference.brightness, reference.contrast, reference.saturation, None)
        order = order[order < 3]
        theirs[i] = np.stack((order, np.array(factors[:3])[order]), axis=1)
    for operation in range(3):
        ours, others = (set_[..., 1][set_[..., 0] == operation] for set_ in (drawn, theirs))
        np.testing.assert_allclose(
            np.quantile(ours, [0, 0.25, 0.5, 0.75, 1]), np.quantile(others, [0, 0.25, 0.5, 0.75, 1]), atol=0.03
        )
        np.testing.assert_allclose((drawn[:, :, 0] == operation).mean(0), [1 / 3] * 3, atol=0.04)
    assert jitter_colors(torch.rand(2, 3, 4, 4), torch.from_numpy(drawn[:2])).shape == (2, 3, 4, 4)


def test_packing_keeps_the_uint8_crop_and_the_mask() -> None:
    img = np.random.randint(0, 256, (5, 7, 3), dtype=np.uint8)[:, ::-1]  # negative strides, as after a flip
    packed = PackMaskedImage().transform(dict(img=img, mask=np.array([True, False])))
    assert set(packed) == {'inputs', 'mask'}
    assert packed['inputs'].dtype == torch.uint8
    assert np.array_equal(packed['inputs'].permute(1, 2, 0).numpy(), img)


@pytest.mark.parametrize('content', [b'', b'no image', 'truncated'])
def test_an_unreadable_image_is_named(image_folder: Path, content: bytes | str) -> None:
    path = image_folder / 'broken.jpg'
    path.write_bytes(
        (image_folder / 'cat' / 'nested' / '0.jpg').read_bytes()[:150] if content == 'truncated' else content
    )
    with pytest.raises(ValueError, match=r'broken.jpg.* cannot be read .*: mend or remove it'):
        LoadImage().transform(dict(img_path=str(path)))


def test_random_masks_hide_exactly_the_set_number_without_blocks() -> None:
    generator = RandomMaskGenerator(14, 75)
    masks = np.stack([generator.transform({})['mask'] for _ in range(300)]).reshape(300, 14, 14)
    assert set(masks.sum(axis=(1, 2))) == {75}
    neighbours = (masks[:, 1:] & masks[:, :-1]).sum() / masks[:, 1:].sum()
    assert neighbours == pytest.approx(75 / 196, abs=0.02)
    assert np.abs(masks.mean(axis=0) - 75 / 196).max() < 0.12
    with pytest.raises(ValueError, match='num_masked=0'):
        RandomMaskGenerator(14, 0)


@pytest.mark.parametrize(
    ('min_side', 'suffix', 'shape'),
    [
        (None, '.jpg', (300, 480)),
        (151, '.jpg', (300, 480)),
        (150, '.jpg', (150, 240)),
        (75, '.jpg', (75, 120)),
        (1, '.jpg', (38, 60)),  # an eighth is the least
        (75, '.png', (300, 480)),
    ],
)
def test_large_jpegs_are_read_no_larger_than_wanted(
    tmp_path: Path, min_side: int | None, suffix: str, shape: tuple
) -> None:
    path = str(tmp_path / f'image{suffix}')
    ramp = np.linspace(0, 255, 480)[None, :, None] * np.ones((300, 1, 3))
    cv2.imwrite(path, ramp.astype(np.uint8))
    loader = LoadImage(min_side=min_side)
    image = loader.transform(dict(img_path=path))['img']
    assert image.shape == (*shape, 3)
    assert np.abs(image.mean((0, 2)) - np.linspace(0, 255, shape[1])).max() < 4
    assert loader.transform(dict(img_path=path))['ori_shape'] == shape
    Path(path).write_bytes(b'')
    with pytest.raises(UnreadableImageError, match='mend or remove it'):
        loader.transform(dict(img_path=path))
