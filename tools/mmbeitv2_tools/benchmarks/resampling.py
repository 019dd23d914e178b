"""Compares ways to resize random crops with PIL's antialiased bicubic filter, which the release uses."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.datasets import LoadImage, RandomResizedCrop, find_images
from mmbeitv2.datasets.resizing import resize
from mmbeitv2.errors import InputError

Box = tuple[int, int, int, int]
Resampler = Callable[[np.ndarray, Box, int], np.ndarray]


def cut(image: np.ndarray, box: Box) -> np.ndarray:
    top, left, height, width = box
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def by_pil(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(cut(image, box)).resize((size, size), Image.Resampling.BICUBIC))


def by_pils_box(image: np.ndarray, box: Box, size: int, reducing_gap: float | None = None) -> np.ndarray:
    top, left, height, width = box
    corners = (left, top, left + width, top + height)
    whole = Image.fromarray(image)
    return np.asarray(whole.resize((size, size), Image.Resampling.BICUBIC, corners, reducing_gap))


def by_torch(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    return resize(torch.from_numpy(cut(image, box)).permute(2, 0, 1), (size, size)).permute(1, 2, 0).numpy()


def by_torch_in_float(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    crop = torch.from_numpy(cut(image, box)).permute(2, 0, 1)[None].float()
    resized = F.interpolate(crop, size=(size, size), mode='bicubic', antialias=True)[0].round().clamp(0, 255)
    return resized.to(torch.uint8).permute(1, 2, 0).numpy()


def by_opencv(image: np.ndarray, box: Box, size: int, interpolation: int) -> np.ndarray:
    return np.asarray(cv2.resize(cut(image, box), (size, size), interpolation=interpolation))


def by_area(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    shrinks = box[2] * box[3] > size * size
    return by_opencv(image, box, size, cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


WAYS: dict[str, Resampler] = {
    'PIL, bicubic (the release)': by_pil,
    'PIL, bicubic, box=': by_pils_box,
    'PIL, bicubic, box=, reducing_gap=2': partial(by_pils_box, reducing_gap=2.0),
    'torch, uint8, bicubic, antialias (ours)': by_torch,
    'torch, float, bicubic, antialias': by_torch_in_float,
    'OpenCV, cubic': partial(by_opencv, interpolation=cv2.INTER_CUBIC),
    'OpenCV, area where it shrinks, else cubic': by_area,
    'OpenCV, linear': partial(by_opencv, interpolation=cv2.INTER_LINEAR),
    'OpenCV, linear exact': partial(by_opencv, interpolation=cv2.INTER_LINEAR_EXACT),
}


def crops(images: list[np.ndarray], size: int, share: float) -> list[tuple[np.ndarray, Box, int]]:
    """Each image with the box of a random crop, the same in every run, and the size wanted."""
    np.random.seed(0)
    transform = RandomResizedCrop(size, crop_ratio_range=(share, 1.0))
    return [(image, transform.rand_crop_params(image), size) for image in images]


def milliseconds(tasks: list[tuple[np.ndarray, Box, int]], repeats: int) -> dict[str, float]:
    """Of each way per crop, the ways taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(repeats):
        for name, way in WAYS.items():
            start = time.process_time()
            for task in tasks:
                way(*task)
            seconds[name].append(time.process_time() - start)
    return {name: 1000 * statistics.median(values) / len(tasks) for name, values in seconds.items()}


def differences(tasks: list[tuple[np.ndarray, Box, int]]) -> dict[str, np.ndarray]:
    """Of each way, the mean absolute difference from PIL's crop, of 255, for each crop."""
    expected = [by_pil(*task).astype(int) for task in tasks]
    return {
        name: np.array([np.abs(way(*task) - image).mean() for task, image in zip(tasks, expected, strict=True)])
        for name, way in WAYS.items()
    }


def other_codes(tokenizer: VisualTokenizer, images: list[np.ndarray], size: int, share: float) -> dict[str, float]:
    """Of each way, the share of codes that are not those of PIL's crops."""
    side = tokenizer.image_size[0]
    shrunk = []
    for image in map(Image.fromarray, images):
        width, height = (round(n * side / size) for n in image.size)
        shrunk.append(np.array(image.resize((width, height), Image.Resampling.LANCZOS)))
    tasks = crops(shrunk, side, share)
    codes = {name: tokenizer([way(*task) for task in tasks]) for name, way in WAYS.items()}
    reference = next(iter(codes.values()))
    return {name: (found != reference).float().mean().item() for name, found in codes.items()}


def compare_resampling(args: argparse.Namespace) -> None:
    """Writes a table to standard output; see ``tools/benchmark_resampling.py --help`` for ``args``.

    Raises:
        InputError: if ``--share`` is not a share, or there are no images.
    """
    if not 0 < args.share <= 1:
        raise InputError(f'--share {args.share} must lie in (0, 1]')
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    paths = find_images(args.images)
    paths = paths[:: -(-len(paths) // args.num_images)]
    images = [LoadImage().transform({'img_path': str(args.images / path)})['img'] for path in paths]
    images = [np.ascontiguousarray(image[..., ::-1]) for image in images]  # BGR -> RGB
    tasks = crops(images, args.size, args.share)
    shrinks = np.array([(box[2] * box[3]) ** 0.5 >= 1.5 * args.size for _, box, _ in tasks])
    found = differences(tasks)
    codes = {}
    if args.tokenizer:
        config, checkpoint = args.tokenizer
        codes = other_codes(VisualTokenizer(config, checkpoint, 'cpu'), images, args.size, args.share)
    sys.stdout.write(f'{len(images)} crops of {args.images}; {shrinks.mean():.0%} shrink by a factor of 1.5 or more\n')
    sys.stdout.write(f'{"":42} {"ms":>7} {"difference":>11} {"shrinking":>10} {"other codes":>12}\n')
    for name, ms in milliseconds(tasks, args.repeats).items():
        strong = found[name][shrinks].mean() if shrinks.any() else float('nan')
        share = f'{codes[name]:12.1%}' if codes else f'{"-":>12}'
        sys.stdout.write(f'{name:42} {ms:7.3f} {found[name].mean():11.3f} {strong:10.3f} {share}\n')
