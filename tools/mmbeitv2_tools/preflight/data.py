"""Checks of the data of a loader: images, classes, labels, and label images of segmentation."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmbeitv2.datasets.image_dataset import FORKABLE
from mmbeitv2.datasets.seeding import SampleIndex, SeededInfiniteSampler, SeededSampler
from mmbeitv2.errors import InputError
from mmbeitv2.segmentation.seg_labels import IGNORED, LoadSegLabels

# Most labels that are looked at before a run; beyond, as many evenly spread. --check looks at all of them.
MAX_LABELS = 2000
# Transforms that read label images by the rules of LoadSegLabels.
_LABEL_READERS = {'mmbeitv2.segmentation.seg_labels.LoadSegLabels', 'mmseg.datasets.transforms.loading.LoadAnnotations'}
_EXIF_ORIENTATION = 0x0112
# How often the most elongated image passes through the pipeline, whose random sizes may round a side to 0.
_DRAWS = 8


def check_loader(key: str, loader: DataLoader) -> None:
    """Checks that a loader has images and at least one batch, and that its first image passes the pipeline.

    Args:
        key: of the loader in the config, for messages.
        loader: its random generators and workers are not changed.

    Raises:
        InputError: if there is no image or no batch, or what the pipeline raises.
    """
    dataset: Any = loader.dataset
    try:
        images, batches = len(dataset), len(loader)
    except TypeError:  # an iterable dataset has no length
        return
    if images == 0:
        raise InputError(no_images(key, vars(dataset)))
    if batches == 0:
        raise InputError(
            f'{key} does not fill one batch: {images:,} images over {get_world_size()} process(es) are fewer than '
            f'batch_size={loader.batch_size}. Set a smaller {key}.batch_size, or {key}.drop_last=False.'
        )
    path = info_of(dataset, 0).get('img_path', '')
    if os.path.isfile(path) or path.startswith(FORKABLE):  # others are opened by their own reader, in its own process
        sample = dataset[_index(loader, 0)]
        if loader.collate_fn is not None:
            loader.collate_fn([sample])


def no_images(key: str, settings: dict) -> str:
    """The sentence for a dataset without images, which names its settings."""
    names = ('data_root', 'data_prefix', 'ann_file', 'img_suffix')
    known = ', '.join(f'{name}={settings[name]!r}' for name in names if settings.get(name))
    return f'{key} finds no images with {known or "its settings"}. Correct them, or put images there.'


def _index(loader: DataLoader, number: int, epoch: int = 0) -> int | SampleIndex:
    """What the sampler of a loader asks its dataset for."""
    sampler: Any = getattr(loader.batch_sampler, 'sampler', loader.sampler)
    is_seeded = isinstance(sampler, (SeededSampler, SeededInfiniteSampler))
    return SampleIndex(number, sampler.seed, epoch) if is_seeded else number


def info_of(dataset: Any, index: int) -> dict:
    """The information that an OpenMMLab dataset has about a sample; empty for other datasets."""
    info = dataset.get_data_info(index) if hasattr(dataset, 'get_data_info') and index < len(dataset) else {}
    return info if isinstance(info, dict) else {}


def classes_of(dataset: Any) -> tuple[str, ...] | None:
    """Names of the classes of a dataset in the order of their labels, None if it has none."""
    meta = getattr(dataset, 'metainfo', None) or {}
    classes = meta.get('classes')
    return tuple(map(str, classes)) if classes is not None and 'class_indices' not in meta else None


def check_same_classes(key: str, dataset: Any, train_dataset: Any) -> None:
    """Checks that another loader numbers the classes in the same way as the training loader.

    Raises:
        InputError: with the first class that differs.
    """
    classes, expected = classes_of(dataset), classes_of(train_dataset)
    if classes is None or expected is None or classes == expected:
        return
    pairs = enumerate(zip(classes, expected, strict=False))
    number = next((i for i, (a, b) in pairs if a != b), min(len(classes), len(expected)))
    here, there = (repr(names[number]) if number < len(names) else 'missing' for names in (classes, expected))
    raise InputError(
        f'the classes of {key} are not those of train_dataloader ({len(classes)} and {len(expected)}): number '
        f'{number} is {here} and {there}. Use the same classes in both.'
    )


def check_labels(key: str, dataset: Any, model: nn.Module | None = None, limit: int | None = MAX_LABELS) -> str | None:
    """Checks the labels of a classification or segmentation dataset against the number of classes of the model.

    Args:
        key: of the loader in the config, for messages.
        dataset: may be wrapped.
        model: None checks against the classes of the dataset only.
        limit: most labels to look at, None for all.

    Returns:
        What is odd about them, in words: classes that never occur, the share of ignored pixels.

    Raises:
        InputError: if a model of segmentation has another number of classes than the dataset, or with the first file
            whose label, label image or size is wrong.
    """
    head = getattr(model, 'decode_head', None) or getattr(model, 'head', None)
    num_classes, names = getattr(head, 'num_classes', None), classes_of(dataset)
    if hasattr(model, 'decode_head') and isinstance(num_classes, int) and names and num_classes != len(names):
        raise InputError(
            f'the model has {num_classes} classes, but the dataset of {key} names {len(names)}: {", ".join(names[:3])}'
            f'{" ..." if names[3:] else ""}. Set num_classes={len(names)}, or correct the names.'
        )
    counts = np.zeros(IGNORED + 1, dtype=np.int64)
    for part in _parts(dataset):
        info = info_of(part, 0)
        if isinstance(info.get('gt_label'), (int, np.integer)) and isinstance(num_classes, int):
            counts = _count_labels(key, part, num_classes, limit)
        elif 'seg_map_path' in info and _reads_labels(part) and getattr(head, 'ignore_index', IGNORED) == IGNORED:
            counts += _count_pixels(key, part, num_classes, limit)
    if not counts.any():
        return None
    if not counts[:IGNORED].any():
        raise InputError(
            f'{key}: all pixels of all label images are ignored. Labels count from 0, or with reduce_zero_label from '
            '1, and 0 is ignored. Correct the labels, or these settings.'
        )
    return _odd(counts, classes_of(dataset))


def _odd(counts: np.ndarray, classes: tuple[str, ...] | None) -> str | None:
    absent = [repr(name) for number, name in enumerate(classes or ()) if number < len(counts) and not counts[number]]
    said = [f'no label of {", ".join(absent[:5])}{" ..." if absent[5:] else ""}'] if absent else []
    if len(counts) > IGNORED and counts[IGNORED]:
        said.append(f'{100 * counts[IGNORED] / counts.sum():.3g} % of the pixels are ignored')
    return '; '.join(said) or None


def _count_labels(key: str, dataset: Any, num_classes: int, limit: int | None) -> np.ndarray:
    counts = np.zeros(num_classes, dtype=np.int64)
    for index in _spread(len(dataset), limit and 100 * limit):
        info = info_of(dataset, index)
        if not 0 <= info['gt_label'] < num_classes:
            raise InputError(
                f'{key}: image {info.get("img_path")!r} has label {info["gt_label"]}, but '
                f'model.head.num_classes={num_classes} allows 0 to {num_classes - 1}. Correct the label, or set '
                'num_classes.'
            )
        counts[info['gt_label']] += 1
    return counts


def _count_pixels(key: str, dataset: Any, num_classes: int | None, limit: int | None) -> np.ndarray:
    """Pixels of each value in the label images, which are checked."""
    infos = [info_of(dataset, index) for index in range(len(dataset))]
    _check_files(key, infos, dataset)
    bounds = [number for number in (num_classes, len(classes_of(dataset) or ()) or None) if isinstance(number, int)]
    allowed = min(bounds, default=IGNORED)
    chosen = [infos[index] for index in _spread(len(infos), limit)]
    total = np.zeros(IGNORED + 1, dtype=np.int64)
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        try:
            for info, counts in zip(chosen, pool.map(partial(_pixels_in, reader=LoadSegLabels()), chosen), strict=True):
                beyond = np.flatnonzero(counts[allowed:IGNORED])
                if beyond.size:
                    settings = 'ignored_labels' if hasattr(dataset, 'ignored_labels') else 'reduce_zero_label'
                    raise InputError(
                        f'label image {info["seg_map_path"]!r} has the label {allowed + beyond[-1]}, but there are '
                        f'{allowed} classes, counted from 0. Correct the label, add its class, or set {settings}.'
                    )
                total += counts
        except InputError as error:
            pool.shutdown(wait=False, cancel_futures=True)
            raise InputError(f'{key}: {error}') from error
    return total


def _check_files(key: str, infos: list[dict], dataset: Any) -> None:
    """Checks that each image has a label image; warns of label images without an image."""
    expected: dict[Path, set[str]] = {}
    for info in infos:
        path = Path(info['seg_map_path'])
        expected.setdefault(path.parent, set()).add(path.name)
    listings = {folder: set(os.listdir(folder)) if folder.is_dir() else set() for folder in expected}
    for info in infos:
        path = Path(info['seg_map_path'])
        if path.name not in listings[path.parent] and '://' not in info['seg_map_path']:
            use = " To predict images without labels, use mmseg's MMSegInferencer." if key.startswith('test') else ''
            raise InputError(
                f'{key}: image {info["img_path"]!r} has no label image {str(path)!r}. Add it, or remove the image.{use}'
            )
    suffix: Any = getattr(dataset, 'seg_map_suffix', None)
    if suffix is None or getattr(dataset, 'ann_file', None):
        return
    for folder, names in listings.items():
        alone = sorted(name for name in names - expected[folder] if name.endswith(suffix))
        if alone:  # mmseg leaves them out, too
            print_log(
                f'{key}: {len(alone)} label images in {str(folder)!r} have no image and are left out; the first is '
                f'{alone[0]!r}',
                logger='current',
                level=logging.WARNING,
            )


def _pixels_in(info: dict, reader: LoadSegLabels) -> np.ndarray:
    """Pixels of each value in a label image, which is compared with the size in the header of its image."""
    sample = {**info, 'seg_fields': []}
    if (size := _size_of(info['img_path'])) is not None:
        sample['ori_shape'] = size
    return np.bincount(reader.transform(sample)['gt_seg_map'].ravel(), minlength=IGNORED + 1)


def _size_of(path: str) -> tuple[int, int] | None:
    """Height and width of an image as it is read; None if it is not a local file, or unreadable."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            is_turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5  # by a quarter, when it is read
    except (OSError, Image.DecompressionBombError):  # its own reader says so
        return None
    return (width, height) if is_turned else (height, width)


def check_elongated(key: str, loader: DataLoader, limit: int | None = MAX_LABELS) -> None:
    """Checks that the most elongated image of a segmentation loader passes the pipeline.

    Raises:
        InputError: with its name and size.
    """
    for part in _parts(loader.dataset):
        if 'seg_map_path' not in info_of(part, 0):
            continue
        paths = {number: info_of(part, number)['img_path'] for number in _spread(len(part), limit)}
        sizes = {number: size for number, path in paths.items() if (size := _size_of(path)) is not None}
        if not sizes:
            continue
        number = max(sizes, key=lambda each: max(sizes[each]) / min(sizes[each]))
        try:
            for epoch in range(_DRAWS):
                part[_index(loader, number, epoch)]
        except InputError:
            raise
        except Exception as error:  # whatever transforms make of it
            height, width = sizes[number]
            raise InputError(
                f'{key}: image {paths[number]!r} of {width}x{height} pixels does not pass the pipeline ({error}). '
                'Remove it, or cut it into pieces.'
            ) from error


def _reads_labels(dataset: Any) -> bool:
    """Whether the pipeline reads label images by a transform whose rules are known: ours, or mmseg's, which ours is."""
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    kinds = {f'{type(transform).__module__}.{type(transform).__name__}' for transform in transforms}
    return bool(kinds & _LABEL_READERS)


def _parts(dataset: Any) -> Iterator[Any]:
    """The datasets that read files, without the wrappers around them, which may repeat their images."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    parts = [part for part in inner if isinstance(part, Dataset)]
    for part in parts:
        yield from _parts(part)
    if not parts:
        yield dataset


def _spread(length: int, limit: int | None) -> range:
    """Indices of at most ``limit`` samples, evenly spread."""
    return range(0, length, 1 if limit is None else max(-(-length // limit), 1))
