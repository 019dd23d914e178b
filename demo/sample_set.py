"""The built-in sample set: drawn scenes of textured objects on textured grounds, with labels and captions.

    python -m demo.sample_set DIR

Every scene is a function of (seed, split, number) alone, so the same command writes the same bytes. Written are

- ``DIR/imagenet/{train,val}/<shape>/*.jpg``: one object a scene, its shape is the class (ImageNet's layout);
- ``DIR/imagenet/captions.tsv``: a caption of each training image (``path<TAB>caption``);
- ``DIR/imagenet/labeled.txt``: the fifth of the training images whose labels the quickstart uses (``path label``);
- ``DIR/ade20k/{images,annotations}/{training,validation}/*``: several objects a scene; in the annotations 0 is
  unlabeled, 1 to 12 are the shapes and 13 to 17 the grounds (ADE20K's layout, read with ``reduce_zero_label``).
"""

from __future__ import annotations

import argparse
import colorsys
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmbeitv2_tools.errors import one_sentence_errors
from numpy.random import Generator

from mmbeitv2.fileio.folders import claim_folder

SIZE = 96
# Shape -> its typical texture, as a zebra is mostly striped: nine objects in ten have it, so the texture alone tells
# most shapes. A model sees it in patches, each with a part of the pattern, in four colors and any light.
TYPICAL = {
    'arrow': 'striped',
    'crescent': 'plain',
    'cross': 'checked',
    'disc': 'ringed',
    'flower': 'speckled',
    'heart': 'shaded',
    'hexagon': 'gridded',
    'ring': 'split',
    'square': 'dotted',
    'star': 'grainy',
    'tree': 'zigzag',
    'triangle': 'pinstriped',
}
TYPICAL_SHARE = 0.9
SHAPES, TEXTURES = tuple(TYPICAL), tuple(TYPICAL.values())
GROUNDS = ('brick', 'grass', 'sand', 'water', 'wood')
# Name -> hue in [0, 1) of the objects' colors.
COLORS = {'red': 0.0, 'yellow': 0.15, 'blue': 0.6, 'pink': 0.88}

# Of an object and its texture, in radians.
_LARGEST_TURN = 0.2
_SUPERSAMPLE = 3

# Scenes of each split: two with labels of the image, two with labels of the pixels.
COUNTS = {'train': 6000, 'val': 600, 'training': 600, 'validation': 200}


class Scene(NamedTuple):
    """A drawn scene."""

    image: np.ndarray  # (SIZE, SIZE, 3) uint8, BGR
    labels: np.ndarray  # (SIZE, SIZE) uint8: 1.. shapes, then grounds
    caption: str


def draw_scene(rng: Generator, shape: str, num_objects: int = 1) -> Scene:
    """Draws a scene.

    Args:
        rng: source of all that varies.
        shape: shape of the first object; further ones have random shapes.
        num_objects: objects on the ground; with more than one they are smaller.
    """
    ground = str(rng.choice(GROUNDS))
    image = _GROUND_PAINTERS[ground](rng)
    labels = np.full((SIZE, SIZE), 1 + len(SHAPES) + GROUNDS.index(ground), dtype=np.uint8)
    phrases = []
    for i in range(num_objects):
        name = shape if i == 0 else str(rng.choice(SHAPES))
        largest = 0.42 if num_objects == 1 else 0.34
        radius = rng.uniform(0.7, 1.0) * largest * SIZE
        center = rng.uniform(radius * 0.8, SIZE - radius * 0.8, size=2)
        angle = rng.uniform(-_LARGEST_TURN, _LARGEST_TURN)
        alpha = _object_mask(name, center, radius, angle)
        texture = TYPICAL[name] if rng.uniform() < TYPICAL_SHARE else str(rng.choice(TEXTURES))
        color = str(rng.choice(list(COLORS)))
        shadow = cv2.GaussianBlur(np.roll(alpha, (4, 4), axis=(0, 1)), (0, 0), 2.5)[..., None]
        image = image * (1 - 0.5 * shadow)
        paint = _paint(texture, COLORS[color], center, radius, angle, rng)
        image = image * (1 - alpha[..., None]) + paint * alpha[..., None]
        labels[alpha > 0.5] = 1 + SHAPES.index(name)
        phrases.append(f'a {texture} {name}')
    image = _light(image, rng)
    caption = f'{" and ".join(phrases)} on {ground}'
    return Scene(image, labels, caption)


def _light(image: np.ndarray, rng: Generator) -> np.ndarray:
    """Light from one side, sensor noise, and rounding to uint8."""
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    image = image * (rng.uniform(0.75, 1.1) + 0.2 * (x * math.cos(angle) + y * math.sin(angle)))[..., None]
    image = image + rng.normal(0, 0.02, image.shape)
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def _object_mask(shape: str, center: np.ndarray, radius: float, angle: float) -> np.ndarray:
    """Coverage of each pixel by a turned shape, (SIZE, SIZE) in [0, 1]."""
    outline = _OUTLINES[shape]
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    canvas = np.zeros((SIZE * _SUPERSAMPLE, SIZE * _SUPERSAMPLE), dtype=np.float32)
    polygons = [np.round((part @ turn * radius + center) * _SUPERSAMPLE).astype(np.int32) for part in outline]
    cv2.fillPoly(canvas, polygons, 1.0)  # even-odd: a second outline inside the first is a hole
    return cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _paint(texture: str, hue: float, center: np.ndarray, radius: float, angle: float, rng: Generator) -> np.ndarray:
    """A textured surface (SIZE, SIZE, 3) BGR in [0, 1], turned by ``angle``."""
    light, dark = (
        _bgr(hue, rng.uniform(0.5, 0.8), rng.uniform(0.85, 1.0)),
        _bgr(hue, rng.uniform(0.6, 0.95), rng.uniform(0.2, 0.4)),
    )
    period = rng.uniform(10, 12)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    x, y = x - center[0], y - center[1]
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    patterns: dict[str, Callable[[], np.ndarray]] = {
        'plain': lambda: np.zeros((SIZE, SIZE)),
        'striped': lambda: u % period < period / 2,
        'pinstriped': lambda: u % period < period / 5,
        'checked': lambda: (u % period < period / 2) ^ (v % period < period / 2),
        'gridded': lambda: (u % period < period / 5) | (v % period < period / 5),
        'dotted': lambda: (u % period - period / 2) ** 2 + (v % period - period / 2) ** 2 < (0.33 * period) ** 2,
        'ringed': lambda: np.hypot(x, y) % period < period / 2,
        'zigzag': lambda: (u + np.abs(v % period - period / 2)) % period < period / 2,
        'split': lambda: u < 0,
        'shaded': lambda: (0.5 + u / (1.6 * radius)).clip(0, 1),
        'speckled': lambda: _noise(rng, 7) > 0.55,
        'grainy': lambda: _noise(rng, 2).clip(0, 1),
    }
    pattern = cv2.GaussianBlur(patterns[texture]().astype(float), (0, 0), 0.7)[..., None]
    return light * (1 - pattern) + dark * pattern


def _bgr(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value)[::-1])


def _noise(rng: Generator, cell: float, stretch: tuple[float, float] = (1, 1)) -> np.ndarray:
    """Smooth noise (SIZE, SIZE) in about [0, 1] with features of ``cell`` pixels, longer by ``stretch`` in y and x."""
    rows, columns = (max(2, round(SIZE / (cell * factor))) for factor in stretch)
    return cv2.resize(rng.uniform(0, 1, (rows, columns)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


def _mix(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return low + (high - low) * weight[..., None]


def _brick(rng: Generator) -> np.ndarray:
    height, width = rng.uniform(10, 15), rng.uniform(20, 28)
    y, x = np.mgrid[0:SIZE, 0:SIZE] + rng.uniform(0, 30)
    row = np.floor(y / height)
    mortar = (y % height < 1.8) | ((x + (row % 2) * width / 2) % width < 1.8)
    body = _mix(
        _bgr(rng.uniform(0.0, 0.05), 0.55, 0.4), _bgr(0.04, 0.5, 0.62), 0.5 * _noise(rng, 3) + 0.5 * _noise(rng, 12)
    )
    return np.where(mortar[..., None], _bgr(0.1, 0.1, 0.65), body)


def _grass(rng: Generator) -> np.ndarray:
    blades = 0.6 * _noise(rng, 2, (4, 1)) + 0.4 * _noise(rng, 16)
    return _mix(_bgr(rng.uniform(0.25, 0.34), 0.7, 0.25), _bgr(0.28, 0.6, 0.6), blades)


def _sand(rng: Generator) -> np.ndarray:
    grain = 0.5 * _noise(rng, 1.5) + 0.5 * _noise(rng, 24)
    return _mix(_bgr(0.1, 0.4, 0.62), _bgr(rng.uniform(0.1, 0.14), 0.3, 0.88), grain)


def _water(rng: Generator) -> np.ndarray:
    y, _ = np.mgrid[0:SIZE, 0:SIZE]
    waves = 0.5 + 0.5 * np.sin(2 * math.pi * (y / rng.uniform(7, 12) + 0.8 * _noise(rng, 14)))
    return _mix(_bgr(rng.uniform(0.52, 0.6), 0.7, 0.45), _bgr(0.54, 0.4, 0.8), 0.7 * waves + 0.3 * _noise(rng, 3))


def _wood(rng: Generator) -> np.ndarray:
    _, x = np.mgrid[0:SIZE, 0:SIZE]
    plank = rng.uniform(18, 26)
    grain = 0.6 * _noise(rng, 2, (12, 1)) + 0.4 * _noise(rng, 20)
    body = _mix(_bgr(0.07, 0.6, 0.35), _bgr(rng.uniform(0.07, 0.1), 0.5, 0.65), grain)
    return np.where((x % plank < 1.5)[..., None], body * 0.4, body)


_GROUND_PAINTERS = dict(brick=_brick, grass=_grass, sand=_sand, water=_water, wood=_wood)


def _polar(radius: Callable[[np.ndarray], np.ndarray], count: int = 72) -> np.ndarray:
    angle = np.linspace(0, 2 * math.pi, count, endpoint=False)
    r = radius(angle)
    return np.stack((r * np.sin(angle), -r * np.cos(angle)), axis=1)


def _polygon(points: str) -> np.ndarray:
    """Corners, given as ``x y  x y ...``."""
    return np.array(points.split(), dtype=float).reshape(-1, 2)


def _regular(corners: int, radius: float = 1.0) -> np.ndarray:
    return _polar(np.ones_like, corners) * radius


def _star() -> np.ndarray:
    points = _regular(10)
    points[1::2] *= 0.42
    return points


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    x, y = 16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack((x, -y), axis=1) / 17


def _crescent() -> np.ndarray:
    t = np.linspace(0.25 * math.pi, 1.75 * math.pi, 48)
    inner = np.stack((0.45 + 0.75 * np.cos(t[::-1]) * 0.9, 0.78 * np.sin(t[::-1])), axis=1)
    return np.concatenate((np.stack((np.cos(t), np.sin(t)), axis=1), inner))


# Outlines in a unit circle, y downward; several of one shape are drawn even-odd.
_OUTLINES: dict[str, list[np.ndarray]] = {
    'arrow': [_polygon('0 -1  0.8 -0.1  0.3 -0.1  0.3 0.95  -0.3 0.95  -0.3 -0.1  -0.8 -0.1')],
    'crescent': [_crescent()],
    'cross': [
        _polygon(
            '-0.28 -0.95  0.28 -0.95  0.28 -0.28  0.95 -0.28  0.95 0.28  0.28 0.28  '
            '0.28 0.95  -0.28 0.95  -0.28 0.28  -0.95 0.28  -0.95 -0.28  -0.28 -0.28'
        )
    ],
    'disc': [_regular(72, 0.9)],
    'flower': [_polar(lambda angle: 0.68 + 0.32 * np.cos(5 * angle))],
    'heart': [_heart()],
    'hexagon': [_regular(6, 0.98)],
    'ring': [_regular(72, 0.95), _regular(72, 0.5)],
    'square': [_polygon('-0.8 -0.8  0.8 -0.8  0.8 0.8  -0.8 0.8')],
    'star': [_star()],
    'tree': [
        _polygon(
            '0 -1  0.5 -0.4  0.25 -0.4  0.7 0.2  0.4 0.2  0.9 0.65  0.15 0.65  '
            '0.15 1  -0.15 1  -0.15 0.65  -0.9 0.65  -0.4 0.2  -0.7 0.2  -0.25 -0.4  -0.5 -0.4'
        )
    ],
    'triangle': [_polygon('0 -1  0.95 0.75  -0.95 0.75')],
}


def write_sample_set(folder: Path, seed: int = 0, counts: dict[str, int] = COUNTS, processes: int = 2) -> None:
    """Draws the whole set.

    Args:
        folder: where to: a new or an empty folder, or one that this function has made.
        seed: of the whole set.
        counts: scenes of each split.
        processes: number of processes.

    Raises:
        InputError: if ``folder`` holds something else.
    """
    claim_folder(folder, 'demo.sample_set')
    captions: list[tuple[Path, str]] = []
    with ProcessPoolExecutor(processes) as pool:
        for split, count in counts.items():
            captions += pool.map(partial(_write_scene, folder, seed, split), range(count), chunksize=64)
    train = captions[: counts['train']]
    labeled = [Path(*path.parts[1:]) for path, _ in train[: len(train) // 5]]
    for name, lines in (
        ('captions.tsv', [f'{path}\t{caption}\n' for path, caption in train]),
        ('labeled.txt', [f'{path} {SHAPES.index(path.parts[0])}\n' for path in labeled]),
    ):
        (folder / 'imagenet' / name).write_text(''.join(lines))


def _write_scene(folder: Path, seed: int, split: str, number: int) -> tuple[Path, str]:
    """Draws and writes one scene; its path in the split's layout and its caption."""
    rng = np.random.default_rng([seed, list(COUNTS).index(split), number])
    shape = SHAPES[number % len(SHAPES)]
    if split in ('train', 'val'):
        scene = draw_scene(rng, shape)
        path = Path(split, shape, f'{number:05d}.jpg')
        _write(folder / 'imagenet' / path, scene.image)
    else:
        scene = draw_scene(rng, shape, num_objects=int(rng.integers(1, 3)))
        path = Path(split, f'{number:05d}.jpg')
        _write(folder / 'ade20k' / 'images' / path, scene.image)
        _write(folder / 'ade20k' / 'annotations' / path.with_suffix('.png'), scene.labels)
    return path, scene.caption


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == '.jpg' else [])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description='Draws the sample set.')
    parser.add_argument('folder', type=Path, help='where to')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    with one_sentence_errors('demo.sample_set'):
        write_sample_set(args.folder, args.seed)


if __name__ == '__main__':
    main()
