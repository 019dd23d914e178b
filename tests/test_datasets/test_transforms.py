from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms import ColorJitter

from mmbeitv2.datasets import DrawColorJitter, LoadImage, PackMaskedImage
from mmbeitv2.errors import UnreadableImageError
from mmbeitv2.models.preprocessor import jitter_colors


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
