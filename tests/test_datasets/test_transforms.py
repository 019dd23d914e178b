from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmpretrain.datasets.transforms import RandomResizedCrop as MMPretrainCrop
from torchvision.transforms import ColorJitter

from mmbeitv2.datasets import DrawColorJitter, FitImage, LoadImage, RandomResizedCrop
from mmbeitv2.errors import UnreadableImageError
from mmbeitv2.pretraining.preprocessor import jitter_colors


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


def test_an_unreadable_image_is_named_and_a_pipe_is_not_waited_for(image_folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe.jpg')
    (tmp_path / 'empty.jpg').touch()
    (tmp_path / 'text.jpg').write_bytes(b'no image')
    (tmp_path / 'cut.jpg').write_bytes((image_folder / 'cat' / 'nested' / '0.jpg').read_bytes()[:150])
    for name, reason in {
        'none.jpg': 'No such file or directory',
        'pipe.jpg': 'it is not a regular file',
        'empty.jpg': 'the file is empty',
        'text.jpg': 'not an image',
        'cut.jpg': '[Tt]runcated',
    }.items():
        with pytest.raises(
            UnreadableImageError, match=rf'/{name[:3]}.+ cannot be read \(.*{reason}.*\). Remove or replace'
        ):
            LoadImage().transform(dict(img_path=str(tmp_path / name)))


@pytest.mark.parametrize(
    ('min_side', 'suffix', 'shape'),
    [
        (None, '.jpg', (300, 480)),
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
    loaded = LoadImage(min_side=min_side).transform(dict(img_path=path))
    assert loaded['img'].shape == (*shape, 3)
    assert np.abs(loaded['img'].mean((0, 2)) - np.linspace(0, 255, shape[1])).max() < 4
    assert loaded['ori_shape'] == loaded['img_shape'] == shape


@pytest.mark.parametrize(('min_side', 'share'), [(915, 0.08), (579, 0.2)])
def test_no_crop_of_an_image_of_min_side_is_enlarged(min_side: int, share: float) -> None:
    transform = RandomResizedCrop(224, crop_ratio_range=(share, share))
    assert str(min_side) in (LoadImage.__doc__ or '')
    assert min_side == math.ceil(224 / math.sqrt(share * 3 / 4))
    smallest = 224
    for aspect in np.geomspace(3 / 4, 4 / 3, 41):
        transform.aspect_ratio_range = (aspect, aspect)
        for height, width in ((1, 1), (1, 1.3), (1.3, 1), (1, 4), (4, 1), (1, 12), (12, 1)):
            image = np.empty((round(min_side * height), round(min_side * width)), np.uint8)
            _, _, *crop = transform.rand_crop_params(image)
            assert min(crop) >= 224
            smallest = min(crop) if height == width else smallest
    assert smallest == 224  # and a smaller min_side would not do


def test_random_crops_are_mmpretrains_resized_as_by_pil() -> None:
    noise = np.random.randint(0, 256, (40, 50, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(noise, (500, 400), interpolation=cv2.INTER_CUBIC))
    settings = dict(scale=(96, 64), crop_ratio_range=(0.2, 1.0))
    ours, reference = (
        RandomResizedCrop(**settings),
        MMPretrainCrop(**settings, backend='pillow', interpolation='bicubic'),
    )
    for seed in range(8):
        np.random.seed(seed)
        cropped = ours.transform(dict(img=image))
        np.random.seed(seed)
        expected = reference.transform(dict(img=image))['img']
        assert cropped['img'].shape == (*cropped['img_shape'], 3) == (96, 64, 3)
        assert np.abs(cropped['img'].astype(int) - expected).mean() < 0.2


@pytest.mark.parametrize('shape', [(1, 5000), (5000, 1), (1, 1), (2, 3000)])
def test_strips_are_loaded_and_resized(tmp_path: Path, shape: tuple[int, int]) -> None:
    cv2.imwrite(str(tmp_path / 'a.jpg'), np.full((*shape, 3), 99, np.uint8))
    for load in (LoadImage(), LoadImage(min_side=1)):
        for transform in (RandomResizedCrop(32), FitImage(32), FitImage((8, 32)), FitImage(32, fit='stretch')):
            img = transform.transform(load.transform(dict(img_path=str(tmp_path / 'a.jpg'))))['img']
            assert img.shape == (*transform.scale, 3)
            assert abs(img.astype(int) - 99).max() <= 1
