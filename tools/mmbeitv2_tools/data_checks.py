"""Checks of the data of a loader: its number of images, its classes, labels and label images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dist import get_world_size
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmbeitv2.datasets.decoding import upright_size
from mmbeitv2.datasets.image_dataset import ImageDataset
from mmbeitv2.errors import InputError
from mmbeitv2.inference.config import walk_settings
from mmbeitv2.segmentation.seg_folder import SegFolder
from mmbeitv2.segmentation.seg_labels import IGNORED, LoadSegLabels

# Most label images that are read before a run, evenly spread; --check reads all of them.
MAX_LABELS = 2000
_HEAD = re.compile(r'model\.(?:.*\.)?(?:decode_head|auxiliary_head|head)(?:\.\d+)?\.num_classes')
# Of mmpretrain, which mixes images by it.
_PREPROCESSOR = re.compile(r'(?:model\.)?data_preprocessor\.num_classes')


def check_length(key: str, loader: DataLoader) -> None:
    """Checks that a loader, named by its key in the config, has at least one batch; one without a length passes.

    Raises:
        InputError: if it has none.
    """
    if hasattr(loader.dataset, '__len__') and len(loader) == 0:
        raise InputError(
            f'{key} does not fill one batch: {len(loader.dataset):,} images over {get_world_size()} process(es) are '
            f'fewer than batch_size={loader.batch_size}. Set a smaller {key}.batch_size, or {key}.drop_last=False.'
        )


def classes_of(dataset: Any) -> tuple[str, ...] | None:
    """Names of the classes of a dataset in the order of their labels, None if it has none."""
    meta = getattr(dataset, 'metainfo', None) or {}
    classes = meta.get('classes')
    return tuple(map(str, classes)) if classes is not None and 'class_indices' not in meta else None


def check_num_classes(key: str, dataset: Any, cfg: Config) -> None:
    """Checks that heads and preprocessor have as many classes as a dataset of this package, or as its label table.

    Other datasets count classes in their own ways; mmpretrain's also count folders without an image.

    Raises:
        InputError: with the options that set the right number, all at once; or if there is only one class.
    """
    classes = classes_of(dataset) if isinstance(dataset, (ImageDataset, SegFolder)) else None
    for transform in getattr(getattr(dataset, 'pipeline', None), 'transforms', ()):
        if getattr(transform, 'table', None) is not None:
            classes = transform.table.classes
    count = None if classes is None else len(classes)
    wrong = {}
    for name, number in walk_settings({key: cfg.get(key) for key in ('model', 'data_preprocessor')}):
        is_head = _HEAD.fullmatch(name)
        # A single logit of mmpretrain's model.head may be a sigmoid's; of a segmentor, the metrics count none as well.
        if is_head and (count == 1 or (number == 1 and '_head' in name)):
            raise InputError(
                f'{key} and {name} know a single class, so every prediction is right and nothing can be learned. '
                'Make the rest, such as the background, a class of its own.'
            )
        if count is not None and number not in (None, count) and (is_head or _PREPROCESSOR.fullmatch(name)):
            wrong[name] = number
    if wrong:
        found = ' and '.join(f'{name}={number}' for name, number in wrong.items())
        options = ' '.join(f'{name}={count}' for name in wrong)
        raise InputError(
            f'the images of {key} are of {count} classes, but {found}. Pass --cfg-options {options}, or correct the '
            'classes.'
        )


def check_same_classes(key: str, dataset: Any, train_dataset: Any) -> None:
    """Checks that another loader numbers the classes in the same way as the training loader.

    Raises:
        InputError: with the classes that only one of them has.
    """
    classes, expected = classes_of(dataset), classes_of(train_dataset)
    if classes is not None and expected is not None and classes != expected:
        difference = ', '.join(map(repr, sorted({*classes} ^ {*expected}))) or 'their order'
        raise InputError(
            f'the classes of {key} are not those of train_dataloader: {difference[:200]} differs. Use the same classes '
            'in both.'
        )


def check_labels(key: str, dataset: Any, model: nn.Module, limit: int | None = MAX_LABELS) -> str | None:
    """Checks that the labels of a classification or segmentation dataset are those of its classes.

    Args:
        key: of the loader in the config, for messages.
        dataset: may be wrapped.
        model: has the number of classes where the dataset does not name them.
        limit: most label images to read, None for all.

    Returns:
        What is odd about the labels, in words: classes that never occur, the share of ignored pixels.

    Raises:
        InputError: with the first image whose label, or label image, is wrong; or if all pixels are ignored.
    """
    head = getattr(model, 'decode_head', None) or getattr(model, 'head', None)
    classes = classes_of(dataset) or ()
    num_classes = len(classes) or getattr(head, 'num_classes', None)
    ignored = {IGNORED, getattr(head, 'ignore_index', IGNORED)}
    found: Counter[int] = Counter()
    for image, labels in _labels(dataset, limit):
        beyond = [label for label in labels if not 0 <= label < (num_classes or IGNORED) and label not in ignored]
        if beyond:
            raise InputError(
                f'{key}: {image} has the label {beyond[-1]}, but there are {num_classes} classes, counted from 0. '
                'Correct the label, add its class, or set reduce_zero_label if classes count from 1.'
            )
        found.update(labels)
    if not found:
        return None
    if not found.keys() - ignored:
        raise InputError(
            f'{key}: all pixels of all label images are ignored. Labels count from 0, or with reduce_zero_label from '
            '1, and 0 is ignored. Correct the labels, or these settings.'
        )
    absent = [repr(name) for number, name in enumerate(classes) if not found[number]]
    said = [f'no label of {", ".join(absent[:5])}{" ..." if absent[5:] else ""}'] if absent else []
    if found[IGNORED]:
        said.append(f'{100 * found[IGNORED] / found.total():.3g} % of the pixels are ignored')
    return '; '.join(said) or None


def _labels(dataset: Any, limit: int | None) -> Iterator[tuple[str, dict[int, int]]]:
    """Names of images, or of label images, and how often each label occurs in them."""
    for part in _parts(dataset):
        info = part.get_data_info(0) if hasattr(part, 'get_data_info') and len(part) else {}
        if isinstance(info.get('gt_label'), (int, np.integer)):
            for info in map(part.get_data_info, range(len(part))):
                yield f'image {info.get("img_path")!r}', {int(info['gt_label']): 1}
        elif 'seg_map_path' in info and (reader := _reader(part)) is not None:
            step = 1 if limit is None else max(-(-len(part) // limit), 1)
            infos = [part.get_data_info(index) for index in range(0, len(part), step)]
            with ThreadPoolExecutor() as pool:
                for info, labels in zip(infos, pool.map(partial(_pixels, reader), infos), strict=True):
                    yield f'label image {info["seg_map_path"]!r}', labels


def _parts(dataset: Any) -> Iterator[Any]:
    """The datasets that read files, without the wrappers around them, which may repeat their images."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    parts = [part for part in inner if isinstance(part, Dataset)]
    for part in parts:
        yield from _parts(part)
    if not parts:
        yield dataset


def _reader(dataset: Any) -> LoadSegLabels | None:
    """Reads label images as the pipeline of a dataset does; None if that reads none, or by rules of its own."""
    from mmseg.datasets.transforms import LoadAnnotations

    for transform in getattr(getattr(dataset, 'pipeline', None), 'transforms', ()):
        its_reader = getattr(type(transform), '_load_seg_map', None)
        if isinstance(transform, LoadSegLabels) or its_reader is LoadAnnotations._load_seg_map:
            reader = LoadSegLabels(backend_args=transform.backend_args)
            reader.table = getattr(transform, 'table', None)
            return reader
    return None


def _pixels(reader: LoadSegLabels, info: dict) -> dict[int, int]:
    """How often each label occurs in a label image, which is compared with the size in the header of its image."""
    sample = {**info, 'seg_fields': []}
    try:
        with Image.open(info['img_path']) as image:
            if image.format != 'TIFF':  # which may be read in another way
                sample['ori_shape'] = upright_size(image)
    except (OSError, Image.DecompressionBombError):  # not a local file, or one of which its own reader says so
        pass
    counts = np.bincount(reader.transform(sample)['gt_seg_map'].ravel())
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts)}
