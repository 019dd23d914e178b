"""Checks of the data of a loader: images, classes, labels, and label images of segmentation."""

from __future__ import annotations

import logging
import math
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
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmbeitv2.datasets.image_dataset import FORKABLE
from mmbeitv2.datasets.seeding import SampleIndex, SeededInfiniteSampler, SeededSampler
from mmbeitv2.errors import InputError, doing
from mmbeitv2.segmentation.seg_labels import IGNORED, LoadSegLabels

# Most label images that are read, and labels of classification that are looked at; beyond, as many evenly spread.
MAX_LABEL_IMAGES = 2000
MAX_LABELS = 200_000
_LABEL_READERS = {'mmbeitv2.segmentation.seg_labels.LoadSegLabels', 'mmseg.datasets.transforms.loading.LoadAnnotations'}
_EXIF_ORIENTATION = 0x0112


def check_loader(key: str, loader: DataLoader, model: nn.Module) -> None:
    """Checks that a loader has images and at least one batch, and that its first image passes the pipeline.

    Args:
        key: of the loader in the config, for messages.
        loader: its random generators and workers are not changed.
        model: that takes the images.

    Raises:
        InputError: if there is no image or no batch, or an image has other channels than the model.
    """
    dataset: Any = loader.dataset
    try:
        images, batches = len(dataset), len(loader)
    except TypeError:  # an iterable dataset has no length
        return
    if images == 0:
        raise InputError(no_image(key, vars(dataset)))
    if batches == 0:
        raise InputError(
            f'{key} does not fill one batch: {images:,} images over {get_world_size()} process(es) are fewer than '
            f'batch_size={loader.batch_size}. Set a smaller {key}.batch_size, or {key}.drop_last=False.'
        )
    info = info_of(dataset, 0)
    path = info.get('img_path', '')
    if not os.path.isfile(path) and not path.startswith(FORKABLE):
        return  # let its own reader open it, in its own process
    sampler: Any = getattr(loader.batch_sampler, 'sampler', loader.sampler)
    is_seeded = isinstance(sampler, (SeededSampler, SeededInfiniteSampler))
    index = SampleIndex(0, sampler.seed, 0) if is_seeded else 0
    with doing(f'passing image {path!r} through the pipeline of {key}'):
        sample = dataset[index]
        if loader.collate_fn is not None:
            loader.collate_fn([sample])
    if isinstance(sample, dict):
        _check_channels(key, info['img_path'], sample.get('inputs'), model)


def _check_channels(key: str, path: str, image: object, model: nn.Module) -> None:
    """An image (C, H, W), the statistics of the data preprocessor and the patch embeddings have the same channels."""
    if not isinstance(image, Tensor) or image.ndim != 3:
        return
    preprocessor = getattr(model, 'data_preprocessor', None)
    for name in ('mean', 'std'):
        statistics = getattr(preprocessor, name, None)
        if isinstance(statistics, Tensor) and statistics.numel() not in (1, len(image)):
            raise InputError(
                f'{key}: image {path!r} has {len(image)} channels in the pipeline, but {name} of the data '
                f'preprocessor has {statistics.numel()} entries. Set one entry for each channel.'
            )
    for name, part in model.named_modules():
        if name.endswith(('backbone.patch_embed.proj', 'encoder.patch_embed.proj')):
            channels = getattr(part, 'in_channels', len(image))
            if channels != len(image):
                part_name = name.removesuffix('.patch_embed.proj').replace('module.', '')
                raise InputError(
                    f'{key}: image {path!r} has {len(image)} channels in the pipeline, but model.{part_name} takes '
                    f'{channels}. Set model.{part_name}.in_channels={len(image)}, or let the pipeline load '
                    f'{channels}.'
                )


def no_image(key: str, dataset: dict) -> str:
    """The message for a dataset without images, which names its settings."""
    known = [
        f'{name}={dataset[name]!r}'
        for name in ('data_root', 'data_prefix', 'ann_file', 'img_suffix')
        if dataset.get(name)
    ]
    return (
        f'{key} finds no images with {", ".join(known) or "its settings"}. Correct the settings, or put images there.'
    )


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
    number = next(
        (i for i, (a, b) in enumerate(zip(classes, expected, strict=False)) if a != b),
        min(len(classes), len(expected)),
    )
    here, there = (repr(names[number]) if number < len(names) else 'missing' for names in (classes, expected))
    raise InputError(
        f'the classes of {key} are not those of train_dataloader ({len(classes)} and {len(expected)}): number '
        f'{number} is {here} in {_place(dataset)} and {there} in {_place(train_dataset)}. Use the same class folders '
        'in both.'
    )


def check_labels(key: str, dataset: Any, model: nn.Module | None = None) -> None:
    """Checks the labels of a classification or segmentation dataset against the number of classes of the model.

    Raises:
        InputError: with the first file whose label, label image or size is wrong.
    """
    ignored = getattr(getattr(model, 'decode_head', None), 'ignore_index', IGNORED)
    seen: set[int] = set()
    labeled = None
    for part in _parts(dataset):
        info = info_of(part, 0)
        if isinstance(info.get('gt_label'), (int, np.integer)):
            _check_class_numbers(key, part, model)
        elif (
            'seg_map_path' in info and _reads_labels(part) and ignored == IGNORED
        ):  # another is not known to our reader
            seen |= _check_label_images(key, part, model)
            labeled = info
    if labeled is not None and not seen:
        raise InputError(
            f'{key}: all pixels of all label images are ignored, for example in {labeled["seg_map_path"]!r}. Labels '
            'count from '
            f'{"1, and 0 is ignored (reduce_zero_label=True)" if labeled.get("reduce_zero_label") else 0}.'
        )


def _check_class_numbers(key: str, dataset: Any, model: nn.Module | None) -> None:
    num_classes = getattr(getattr(model, 'head', None), 'num_classes', None)
    if not isinstance(num_classes, int):
        return
    classes = classes_of(dataset)
    if classes is not None and len(classes) <= num_classes and not getattr(dataset, 'ann_file', None):
        return  # labels are numbers of folders
    for index in _spread(len(dataset), MAX_LABELS):
        info = info_of(dataset, index)
        if not 0 <= info['gt_label'] < num_classes:
            raise InputError(
                f'{key}: image {info.get("img_path")!r} has label {info["gt_label"]}, but '
                f'model.head.num_classes={num_classes} allows 0 to {num_classes - 1}. Correct the label, or set '
                'num_classes.'
            )


def _check_label_images(key: str, dataset: Any, model: nn.Module | None) -> set[int]:
    """Checks each image's label image, and returns the classes in them."""
    infos = [info_of(dataset, index) for index in range(len(dataset))]
    _check_files(key, infos, dataset)
    classes = classes_of(dataset)
    counts = [getattr(getattr(model, 'decode_head', None), 'num_classes', None), len(classes) if classes else None]
    limit = min((count for count in counts if isinstance(count, int)), default=IGNORED)
    reader = LoadSegLabels(num_classes=min(limit, IGNORED))
    chosen = [infos[index] for index in _spread(len(infos), MAX_LABEL_IMAGES)]
    seen: set[int] = set()
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        try:
            for values in pool.map(partial(_labels_in, reader=reader), chosen):
                seen |= values
        except InputError as error:
            pool.shutdown(wait=False, cancel_futures=True)
            raise InputError(f'{key}: {error}') from error
    return seen


def _check_files(key: str, infos: list[dict], dataset: Any) -> None:
    """Checks that each image has a label image; warns of label images without an image."""
    listings: dict[Path, set[str]] = {}
    expected: dict[Path, set[str]] = {}
    for info in infos:
        path = Path(info['seg_map_path'])
        if path.parent not in listings:
            listings[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
            expected[path.parent] = set()
        expected[path.parent].add(path.name)
        if path.name not in listings[path.parent] and '://' not in info['seg_map_path']:
            raise InputError(
                f'{key}: image {info["img_path"]!r} has no label image {str(path)!r}. Add it, or remove the image.'
            )
    suffix: Any = getattr(dataset, 'seg_map_suffix', None)
    if suffix is None or getattr(dataset, 'ann_file', None):
        return
    for folder, names in listings.items():
        alone = sorted(name for name in names - expected[folder] if name.endswith(suffix))
        if alone:  # mmseg leaves them out, too
            print_log(
                (
                    f'{key}: {len(alone)} label images in {str(folder)!r} have no image and are left out; the first is '
                    f'{alone[0]!r}'
                ),
                logger='current',
                level=logging.WARNING,
            )


def _labels_in(info: dict, reader: LoadSegLabels) -> set[int]:
    """Classes in a label image, which is compared with the size in the header of its image."""
    sample = {**info, 'seg_fields': []}
    try:
        with Image.open(info['img_path']) as image:
            width, height = image.size
            is_turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5  # by a quarter, when it is read
            sample['ori_shape'] = (width, height) if is_turned else (height, width)
    except (OSError, Image.DecompressionBombError):  # not a local file, or unreadable: the image's own reader says so
        pass
    counts = np.bincount(reader.transform(sample)['gt_seg_map'].ravel(), minlength=IGNORED + 1)
    return set(np.flatnonzero(counts[:IGNORED]).tolist())


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


def _place(dataset: Any) -> str:
    """Where the images of a dataset come from, for messages."""
    for each in _parts(dataset):
        prefix = getattr(each, 'data_prefix', None)
        folder = prefix.get('img_path') if isinstance(prefix, dict) else None
        place = getattr(each, 'ann_file', '') or folder or getattr(each, 'data_root', '')
        if place:
            return repr(str(place))
    return f'a {type(dataset).__name__}'


def _spread(length: int, limit: int) -> range:
    """Indices of at most ``limit`` samples, evenly spread."""
    return range(0, length, max(math.ceil(length / limit), 1))
