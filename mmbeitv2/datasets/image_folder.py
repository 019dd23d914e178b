"""Any folder of images."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset
from timm.data import ImageNetInfo

from mmbeitv2.datasets.seeding import SampleIndex
from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.registry import DATASETS

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


def find_images(root: Path, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> list[str]:
    """Paths of the image files in a folder of any depth, relative to it, sorted.

    Links to folders are followed. Hidden files and folders, whose names start with a dot, are left out.

    Raises:
        InputError: if there is no such folder, no image in it, a folder that cannot be read, or an endless chain of
            links.
    """
    if not root.is_dir():
        raise InputError(f'image folder {str(root)!r} not found: give an existing one')
    paths = sorted(path for path in _walk(str(root)) if path.lower().endswith(tuple(extensions)))
    if not paths:
        raise InputError(f'image folder {str(root)!r} holds no image ({", ".join(sorted(extensions))}): give another')
    return paths


def _walk(root: str) -> Iterator[str]:
    """All files below a folder, relative to it."""
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [('', frozenset())]
    while waiting:
        below, parents = waiting.pop()
        folder = os.path.join(root, below)
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            entries = [entry for entry in os.scandir(folder) if not entry.name.startswith('.')]
            folders = {entry.name for entry in entries if entry.is_dir()}
        except OSError as error:
            path = error.filename or folder
            raise InputError(
                f'folder {path!r} cannot be read ({error.strerror}): change its permissions, or move it elsewhere'
            ) from error
        if identity in parents:
            raise InputError(f'folder {folder!r} is a link to a folder that it lies in: remove the link')
        waiting += [(os.path.join(below, name), parents | {identity}) for name in folders]
        yield from (os.path.join(below, entry.name) for entry in entries if entry.name not in folders)


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """mmpretrain's ``CustomDataset``, unlabelled by default, that checks what it reads.

    Args:
        data_root: folder of the data.
        data_prefix: folder of the images in ``data_root``, nested to any depth (:func:`find_images`).
        ann_file: list of image paths, one a line, absolute or relative to the folder of the images; empty for all
            images of the folder.
        with_label: take the label from the first folder below, or from the end of each line of ``ann_file``, where it
            follows the last space.
        extensions: of image files, in small letters.
        max_unreadable: share of the images, in [0, 1), that may be unreadable: each is reported and replaced by
            another, which depends on the seed, the epoch and its index only. Beyond it the run stops with the list.
        kwargs: see ``CustomDataset``.

    Raises:
        InputError: names the folder, file or line, if anything is missing or cannot be read.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: str | dict = '',
        ann_file: str = '',
        with_label: bool = False,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        max_unreadable: float = 0.0,
        **kwargs: object,
    ) -> None:
        if not 0 <= max_unreadable < 1:
            raise InputError(f'max_unreadable={max_unreadable} is a share of the images and must lie in [0, 1)')
        self.max_unreadable = max_unreadable
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix,
            ann_file=ann_file,
            with_label=with_label,
            extensions=extensions,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        if '://' in self.img_prefix + self.ann_file:
            return super().load_data_list()
        folder = Path(self.img_prefix)
        if not folder.is_dir():
            raise InputError(
                f'image folder {str(folder)!r} not found: give an existing one by --cfg-options '
                'train_dataloader.dataset.data_root=DIR'
            )
        if self.ann_file:
            return self._read_list()
        paths = find_images(folder, self.extensions)
        if not self.with_label:
            return [{'img_path': str(folder / path)} for path in paths]
        number = {name: i for i, name in enumerate(self._class_folders(folder, paths))}
        return [
            {'img_path': str(folder / path), 'gt_label': number[path.split(os.sep)[0]]}
            for path in paths
            if os.sep in path
        ]

    def _class_folders(self, folder: Path, paths: list[str]) -> list[str]:
        """Names of the class folders, in order; become the classes where none are given."""
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith('.'))
        outside = [path for path in paths if os.sep not in path]
        if len(outside) == len(paths):
            raise InputError(
                f'image folder {str(folder)!r} has no class folders with images: put the images of each class into a '
                'folder of its own, or set with_label=False'
            )
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(names)
        elif len(self.CLASSES) != len(names):
            raise InputError(
                f'image folder {str(folder)!r} has {len(names)} class folders, but {len(self.CLASSES)} classes are '
                'given: give as many, or none'
            )
        empty = set(names).difference(path.split(os.sep)[0] for path in paths)
        for message, found in (
            ('lie outside of the class folders and are left out', outside),
            ('hold no image', empty),
        ):
            if found:
                print_log(
                    f'{len(found)} entries of {str(folder)!r} {message}: {", ".join(sorted(found)[:5])}',
                    logger='current',
                    level=logging.WARNING,
                )
        return names

    def _read_list(self) -> list[dict]:
        """The images, and their labels, of ``ann_file``."""
        try:
            text = Path(self.ann_file).read_text(encoding='utf-8-sig')
        except FileNotFoundError:
            raise InputError(
                f'image list {self.ann_file!r} not found: give an existing file, or leave ann_file out to read the '
                'whole folder'
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, 'strerror', None) or 'it is no text in UTF-8'
            raise InputError(f'image list {self.ann_file!r} cannot be read ({reason}): give a text file') from error
        if not text:
            raise InputError(f'image list {self.ann_file!r} is empty: write one image path a line')
        samples = [self._parse(line, i) for i, line in enumerate(text.removesuffix('\n').split('\n'), 1)]
        if self.max_unreadable == 0:
            self._check_existence([sample['img_path'] for sample in samples])
        return samples

    def _parse(self, line: str, number: int) -> dict:
        """A line of ``ann_file``."""
        where = f'line {number} of image list {self.ann_file!r}'
        line = line.removesuffix('\r')
        if not line.strip():
            raise InputError(f'{where} is empty: remove it')
        if '\0' in line:
            raise InputError(f'{where} holds a null byte: give a text file')
        if not self.with_label:
            return {'img_path': os.path.join(self.img_prefix, line)}
        path, _, label = line.strip().rpartition(' ')
        if not path:
            raise InputError(f'{where}, {line[:99]!r}, has no label: write the path, a space and the label')
        if not (label.isascii() and label.isdigit() and len(label) < 10):
            raise InputError(f'{where} ends with {label[:99]!r}, which is no label: write a whole number, from 0 on')
        if self.CLASSES is not None and int(label) >= len(self.CLASSES):
            raise InputError(f'{where} has the label {label}, but there are {len(self.CLASSES)} classes, from 0 on')
        return {'img_path': os.path.join(self.img_prefix, path.rstrip()), 'gt_label': int(label)}

    def _check_existence(self, paths: list[str]) -> None:
        """Lists each folder once, which is much faster than a look at every file."""
        names: dict[str, set[str]] = {}
        for number, path in enumerate(paths, 1):
            folder, name = os.path.split(path)
            if folder not in names:
                names[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
            if name not in names[folder] and not os.path.isfile(path):
                raise InputError(
                    f'image {path!r} in line {number} of image list {self.ann_file!r} not found: correct the line, or '
                    'data_root and data_prefix'
                )

    def full_init(self) -> None:
        """As mmengine's; then makes the list of unreadable images, which the worker processes share."""
        super().full_init()
        if self.max_unreadable > 0:
            self._is_unreadable = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def prepare_data(self, idx: int) -> dict | None:
        """A sample, or another one in the place of an unreadable image.

        Raises:
            UnreadableImageError: if none may be unreadable.
            InputError: with the list, if more images are unreadable than ``max_unreadable`` allows.
        """
        # Each attempt is the next draw of a generator that the sample alone seeds, so that the run can be repeated.
        key = [idx.seed, idx.epoch, int(idx)] if isinstance(idx, SampleIndex) else [int(idx)]
        generator: np.random.Generator | None = None
        while True:
            try:
                return super().prepare_data(idx)
            except UnreadableImageError as error:
                if self.max_unreadable == 0:
                    message = f'{error}, or set max_unreadable of the dataset to leave such images out'
                    raise UnreadableImageError(message) from error
                self._report(int(idx), error)
            generator = generator or np.random.default_rng(key)
            other = int(generator.integers(len(self)))
            idx = SampleIndex(other, idx.seed, idx.epoch) if isinstance(idx, SampleIndex) else other

    def _report(self, index: int, error: UnreadableImageError) -> None:
        if self._is_unreadable[index]:
            return
        self._is_unreadable[index] = True
        found = self._is_unreadable.nonzero()[:, 0].tolist()
        if len(found) > self.max_unreadable * len(self):
            paths = ', '.join(self.get_data_info(other)['img_path'] for other in found[:100])
            raise InputError(
                f'{len(found)} of {len(self)} images cannot be read, more than max_unreadable={self.max_unreadable} '
                f'allows: remove or replace {paths}'
            )
        print_log(
            f'{error}; another image takes its place ({len(found)} of {len(self)} so far)',
            logger='current',
            level=logging.WARNING,
        )


@DATASETS.register_module()
class ImageNetVariant(ImageFolder):
    """Images of some or all classes of ImageNet-1k, in folders named by synset: ImageNet-A, -R, -Sketch, -V2.

    Labels are those of ImageNet-1k, 0 to 999 in the order of the synsets; ``metainfo['class_indices']`` lists the
    classes that there are, over which :class:`mmbeitv2.SubsetAccuracy` scores (paper, section 3.2, robustness).

    Args:
        kwargs: see :class:`ImageFolder`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(with_label=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        data_list = super().load_data_list()
        numbers = {synset: number for number, synset in enumerate(ImageNetInfo('imagenet-1k').label_names())}
        folders = self._metainfo['classes']
        unknown = [folder for folder in folders if folder not in numbers]
        if unknown:
            raise InputError(
                f'folder {unknown[0]!r} in {str(self.img_prefix)!r} is no synset of ImageNet-1k ({len(unknown)} of '
                f'{len(folders)} folders): name the folders as n01498041, and give the one that holds them'
            )
        self._metainfo['class_indices'] = [numbers[folder] for folder in folders]
        for sample in data_list:
            sample['gt_label'] = numbers[folders[sample['gt_label']]]
        return data_list
