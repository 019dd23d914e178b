"""The folder in which the blocks of a page are run: small images, tiny weights, links to the repository."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from tests.conftest import ROOT
from tests.test_docs.tiny import Weights

# Names of two classes of ImageNet that ImageNet-R has as well.
SYNSETS = ('n01443537', 'n01484850')
PETS = ('cat', 'dog')
SAMPLE = 'work_dirs/quickstart/sample'
CLASSES = {
    **{f'data/imagenet/{split}': SYNSETS for split in ('train', 'val')},
    **{f'data/imagenet-{variant}': SYNSETS for variant in ('a', 'r', 'sketch')},
    **{f'{root}/{split}': PETS for root in ('data/own', 'photos') for split in ('train', 'val')},
    **{f'{SAMPLE}/imagenet/{split}': ('disc', 'star') for split in ('train', 'val')},
}
# Root, folder of the labels, splits and number of labels.
SEGMENTED = [
    ('data/own', 'labels', ('train', 'val'), 3),
    ('data/ade/ADEChallengeData2016', 'annotations', ('training', 'validation'), 151),
    (f'{SAMPLE}/ade20k', 'annotations', ('training', 'validation'), 18),
    ('data/camvid', 'annotations', ('training', 'validation', 'test'), 12),
]
# File -> config whose weights it has.
CHECKPOINTS = {
    'tokenizer.pth': 'tokenizer/vqkd_vit-b_3x768x12-clip_100e.py',
    'kmeans.pth': 'tokenizer/kmeans_vit-b-clip_1e.py',
    'pixel_decoder.pth': 'tokenizer/pixel-decoder_8x512x8_vqkd-vit-b-3x768x12-clip_20e.py',
    'pretrained.pth': 'beitv2_vit-b_1600e.py',
    'classifier.pth': 'classification/beitv2-1600e_vit-b_ft-100e_in1k.py',
    'segmentor.pth': 'segmentation/beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py',
}
_NOT_LINKED = {'.git', '.venv', 'work_dirs', 'data', 'checkpoints'}


def make_images(folder: Path) -> None:
    """Everything that pages find in ``data/`` and beside it."""
    rng = np.random.default_rng(0)
    places = [folder / root / name for root, names in CLASSES.items() for name in names]
    for place in [*places, folder / 'data/satellite/train']:
        place.mkdir(parents=True)
    for place in places:
        for number in range(4):
            cv2.imwrite(str(place / f'{number}.jpg'), _blocks(rng, 256, 3))
    for root, labels, splits, count in SEGMENTED:
        for split in splits:
            images, maps = folder / root / 'images' / split, folder / root / labels / split
            images.mkdir(parents=True)
            maps.mkdir(parents=True)
            for number in range(4):
                label = _blocks(rng, count, 1)
                noise = rng.integers(0, 30, (*label.shape[:2], 3), dtype=np.uint8)
                cv2.imwrite(str(images / f'{number}.jpg'), 40 * label + noise)
                cv2.imwrite(str(maps / f'{number}.png'), label)
    for number in range(8):
        np.save(folder / f'data/satellite/train/{number}.npy', rng.integers(0, 9000, (40, 48, 6), dtype=np.uint16))
    labeled = [f'{name}/{number}.jpg {label}\n' for label, name in enumerate(('disc', 'star')) for number in range(4)]
    (folder / SAMPLE / 'imagenet/labeled.txt').write_text(''.join(labeled))
    (folder / 'data/own/classes.txt').write_text('sky\nroad\ncar\n')
    (folder / 'data/camvid/classes.txt').write_text(''.join(f'class {number}\n' for number in range(11)))
    shutil.copy(folder / 'photos/val/cat/0.jpg', folder / 'cat.jpg')
    cv2.imwrite(str(folder / 'dog.png'), _blocks(rng, 256, 3))


def _blocks(rng: np.random.Generator, values: int, channels: int) -> np.ndarray:
    """(40, 48, channels) uint8, each 8x8 pixels of one value."""
    return rng.integers(0, values, (5, 6, channels), dtype=np.uint8).repeat(8, 0).repeat(8, 1)


def make_scratch(folder: Path, images: Path, weights: Weights) -> None:
    """A scratch folder with copies of what :func:`make_images` has made."""
    shutil.copytree(images, folder, dirs_exist_ok=True, copy_function=os.link)
    for path in ROOT.iterdir():
        if path.name not in _NOT_LINKED:
            (folder / path.name).symlink_to(path)
    for name, config in CHECKPOINTS.items():
        shutil.copy(weights.of_config(ROOT / 'configs' / config), folder / name)
