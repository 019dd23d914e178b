"""A made multispectral set: objects whose class shows in near and short-wave infrared only.

    python -m demo.multispectral DIR

writes DIR/train/CLASS/*.npy and DIR/val/CLASS/*.npy, each (96, 96, 6) uint16: blue, green, red, near infrared and two
bands of short-wave infrared, as reflectance times 10,000. The visible bands are a scene of the sample set. The class is
what the object is made of: its reflectance in bands 3 and 4 is low, middle or high, nine pairs in all. Shape, color,
texture, ground and band 5 say nothing of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from mmbeitv2_tools.errors import one_sentence_errors
from numpy.random import Generator

from demo.sample_set import SHAPES, draw_scene
from mmbeitv2.errors import InputError

LEVELS = {'low': 0.25, 'middle': 0.5, 'high': 0.75}
CLASSES = [(near, short) for near in LEVELS for short in LEVELS]
_SCALE = 10_000  # of reflectance, as in Sentinel-2's files
_NOISE = 0.06


def draw_bands(rng: Generator, near: str, short: str) -> np.ndarray:
    """An image (96, 96, 6) uint16 with one object.

    Args:
        rng: source of all that varies.
        near: level of the object in near infrared, ``'low'``, ``'middle'`` or ``'high'``.
        short: likewise in the first band of short-wave infrared.
    """
    scene = draw_scene(rng, str(rng.choice(SHAPES)))
    visible = scene.image.astype(np.float64) / 255  # (64, 64, 3), BGR
    gray = visible.mean(axis=2)
    is_object = cv2.GaussianBlur((scene.labels <= len(SHAPES)).astype(np.float64), (0, 0), 0.7)
    texture = 1 + 0.3 * (gray - gray.mean())
    hidden = []
    for level in (LEVELS[near], LEVELS[short]):
        ground = rng.uniform(min(LEVELS.values()), max(LEVELS.values()))
        object_level = level + rng.normal(0, 0.04)
        hidden.append((ground + (object_level - ground) * is_object) * texture)
    bands = np.dstack([visible, *hidden, 0.5 * gray + 0.25])
    bands[..., 3:] += rng.normal(0, _NOISE, bands[..., 3:].shape)
    return (bands.clip(0, 1.5) * _SCALE).round().astype(np.uint16)


def write_multispectral_set(folder: Path, train: int = 1800, val: int = 450, seed: int = 0) -> None:
    """Writes the set; an image depends on the seed, its split and its number alone.

    Args:
        folder: to write into; it must not exist, or be empty.
        train: images for training, of all classes together.
        val: images for validation.
        seed: of all that is drawn.

    Raises:
        InputError: if the folder is not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f'folder {str(folder)!r} is not empty. Choose an empty or a new folder.')
    for split, (name, count) in enumerate((('train', train), ('val', val))):
        for number in range(count):
            near, short = CLASSES[number % len(CLASSES)]
            path = folder / name / f'{near}-{short}' / f'{number:05}.npy'
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, draw_bands(np.random.default_rng([seed, split, number]), near, short))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, metavar='DIR', help='folder to write to')
    parser.add_argument('--train', type=int, default=1800, help='number of training images (default: %(default)s)')
    parser.add_argument('--val', type=int, default=450, help='number of validation images (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed (default: %(default)s)')
    args = parser.parse_args(argv)
    with one_sentence_errors('multispectral.py'):
        write_multispectral_set(args.folder, args.train, args.val, args.seed)


if __name__ == '__main__':
    main()
