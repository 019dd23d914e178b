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
SHAPES = ('disc', 'star')
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
    data, quickstart = folder / 'data', folder / 'work_dirs' / 'quickstart' / 'sample'
    for split, count in (('train', 4), ('val', 2)):
        for root, classes in (
            (data / 'imagenet', SYNSETS),
            (data / 'own', PETS),
            (folder / 'photos', PETS),
            (quickstart / 'imagenet', SHAPES),
        ):
            for name in classes:
                _draw_images(root / split / name, count, rng)
        _draw_segmented(data / 'own', 'images', 'labels', split, 4, 3, rng)
    (data / 'satellite' / 'train').mkdir(parents=True)
    for number in range(8):
        np.save(data / 'satellite' / 'train' / f'{number}.npy', rng.integers(0, 9000, (40, 48, 6), dtype=np.uint16))
    for variant in 'a', 'r', 'sketch':
        for name in SYNSETS:
            _draw_images(data / f'imagenet-{variant}' / name, 2, rng)
    for split in 'training', 'validation':
        _draw_segmented(data / 'ade' / 'ADEChallengeData2016', 'images', 'annotations', split, 4, 151, rng)
        _draw_segmented(quickstart / 'ade20k', 'images', 'annotations', split, 4, 18, rng)
    for split in 'training', 'validation', 'test':
        _draw_segmented(data / 'camvid', 'images', 'annotations', split, 4, 12, rng)
    labeled = (f'{name}/{number}.jpg {label}' for label, name in enumerate(SHAPES) for number in range(4))
    (quickstart / 'imagenet' / 'labeled.txt').write_text('\n'.join(labeled) + '\n')
    (data / 'own' / 'classes.txt').write_text('sky\nroad\ncar\n')
    (data / 'camvid' / 'classes.txt').write_text('\n'.join(f'class {number}' for number in range(11)) + '\n')
    shutil.copy(folder / 'photos/val/cat/0.jpg', folder / 'cat.jpg')
    cv2.imwrite(str(folder / 'dog.png'), cv2.imread(str(folder / 'photos/val/dog/0.jpg')))


def make_scratch(folder: Path, images: Path, weights: Weights) -> None:
    """A scratch folder with copies of what :func:`make_images` has made."""
    shutil.copytree(images, folder, dirs_exist_ok=True, copy_function=os.link)
    for path in ROOT.iterdir():
        if path.name not in _NOT_LINKED:
            (folder / path.name).symlink_to(path)
    for name, config in CHECKPOINTS.items():
        shutil.copy(weights.of_config(ROOT / 'configs' / config), folder / name)


def _draw_images(folder: Path, count: int, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        blocks = rng.integers(0, 256, (5, 6, 3)).repeat(8, 0).repeat(8, 1)
        cv2.imwrite(str(folder / f'{number}.jpg'), blocks.astype(np.uint8))


def _draw_segmented(
    root: Path, images: str, labels: str, split: str, count: int, num_labels: int, rng: np.random.Generator
) -> None:
    for kind in images, labels:
        (root / kind / split).mkdir(parents=True)
    for number in range(count):
        label = rng.integers(0, num_labels, (5, 6)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        image = 40 * label[..., None] + rng.integers(0, 30, (*label.shape, 3))
        cv2.imwrite(str(root / images / split / f'{number}.jpg'), (image % 256).astype(np.uint8))
        cv2.imwrite(str(root / labels / split / f'{number}.png'), label)
