"""Images in tar files, which an index makes readable in any order.

``tools/make_shards.py`` makes a folder of ordinary tar files and ``index.npz``, whose arrays hold the tar file, the
offset and the original path of each image. The arrays are shared by all data-loading workers: 14 million images take
0.9 GB. An image's address, ``mmbeitv2-tar://SHARD?OFFSET+LENGTH#PATH``, is read by mmengine's ``fileio``, so every
transform that reads image paths can read shards.

This is our own code because webdataset, from version 1.0 on, reads tar files from the beginning only, and the package
datasets copies Parquet files into its cache before it reads them in any order.
"""

from __future__ import annotations

import logging
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mmengine.fileio import register_backend
from mmengine.logging import print_log

from mmbeitv2.datasets.file_backends import ReadingBackend
from mmbeitv2.datasets.image_dataset import SHARD_PREFIX, ImageDataset, Rows
from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS, SHARD_INDEX, find_images
from mmbeitv2.errors import InputError
from mmbeitv2.registry import DATASETS

_ADDRESS = re.compile(SHARD_PREFIX + r'://(.*?)\?(\d+)\+(\d+)#', re.DOTALL)


@dataclass(frozen=True)
class ShardIndex:
    """The positions of n images in a set of shards; version 1.0 wrote the same."""

    shards: np.ndarray  #: names of the tar files, (s,)
    sizes: np.ndarray  #: of the tar files in bytes, (s,) int64
    shard: np.ndarray  #: of each image, (n,) int32
    offset: np.ndarray  #: of its first byte in the shard, (n,) int64
    length: np.ndarray  #: in bytes, (n,) int64
    label: np.ndarray  #: number of its class folder, -1 outside of them, (n,) int32
    names: np.ndarray  #: the paths of the images, one after the other, uint8
    name_ends: np.ndarray  #: offset of each path in ``names``, and the end of the last one, (n + 1,) int64
    classes: np.ndarray  #: names of the class folders, (c,)

    @classmethod
    def read(cls, folder: Path) -> ShardIndex:
        """Reads the index of a folder and compares the tar files with it.

        Raises:
            InputError: if the index or a tar file is missing, cut off, or not what it was.
        """
        path = folder / SHARD_INDEX
        try:
            with np.load(path) as content:
                index = cls(**{field.name: content[field.name] for field in fields(cls)})
        except FileNotFoundError:
            raise InputError(
                f'folder of shards {str(folder)!r} has no {SHARD_INDEX}. Run tools/make_shards.py until it has '
                'finished, or correct the path.'
            ) from None
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(
                f'{str(path)!r} is damaged, or is not an index of shards. Remove it and run tools/make_shards.py again.'
            ) from error
        for name, size in zip(index.shards.tolist(), index.sizes.tolist(), strict=True):
            found = os.stat(folder / name).st_size if (folder / name).is_file() else None
            if found != size:
                raise InputError(
                    f'shard {str(folder / name)!r} is {"missing" if found is None else "truncated or not the same"}: '
                    f'{SHARD_INDEX} says {size:,} bytes, found are {found or 0:,}. Copy it again, or run '
                    'tools/make_shards.py again.'
                )
        return index

    def __len__(self) -> int:
        return len(self.shard)

    def path(self, number: int) -> str:
        """Path of an image, relative to the folder from which the shards were made."""
        return os.fsdecode(self.names[self.name_ends[number] : self.name_ends[number + 1]].tobytes())

    def address(self, folder: str | Path, number: int) -> str:
        """The address under which ``mmengine.fileio`` reads an image."""
        shard = os.path.join(folder, self.shards[self.shard[number]])
        return f'{SHARD_PREFIX}://{shard}?{self.offset[number]}+{self.length[number]}#{self.path(number)}'


@lru_cache(maxsize=256)
def _opened(path: str) -> BinaryIO:
    """A shard, which stays open: most of its images follow. pread does not move it, so processes can share it."""
    return open(path, 'rb')


class TarBackend(ReadingBackend):
    """Reads ``mmbeitv2-tar://SHARD?OFFSET+LENGTH#PATH``: LENGTH bytes of a file from OFFSET on."""

    def get(self, filepath: str | Path) -> bytes:
        """The bytes of an image.

        Raises:
            OSError, InputError: if the file cannot be read, or is truncated.
        """
        address = _ADDRESS.match(str(filepath))
        if address is None:
            raise InputError(f'{str(filepath)!r} is not the address of an image in a shard')
        content = os.pread(_opened(address[1]).fileno(), int(address[3]), int(address[2]))
        if len(content) < int(address[3]):
            raise InputError(f'shard {address[1]!r} is truncated')
        return content


register_backend('mmbeitv2.TarBackend', TarBackend, force=True, prefixes=SHARD_PREFIX)


class _ShardRows(Rows):
    """Addresses and labels of the images of an index."""

    def __init__(self, folder: str, index: ShardIndex, with_label: bool) -> None:
        self.folder, self.table, self.with_label = folder, index, with_label
        self.numbers = np.flatnonzero((index.label >= 0) | (not with_label))

    def __len__(self) -> int:
        return len(self.numbers)

    def row(self, number: int) -> dict:
        number = int(self.numbers[number])
        info = {'img_path': self.table.address(self.folder, number)}
        return info | {'gt_label': int(self.table.label[number])} if self.with_label else info


@DATASETS.register_module()
class ImageShards(ImageDataset):
    """The images of tar files that ``tools/make_shards.py`` made, in the order and with the labels of ``ImageFolder``.

    Args:
        data_root: folder of the data.
        with_label: take the label from the class folder in which the image lay.
        ann_file: must be empty: all images of the shards are taken.
        kwargs: ``data_prefix``, the folder of the shards and their index in ``data_root``; and see
            :class:`ImageDataset`.

    Raises:
        InputError: if the index or a shard is missing, cut off, or not what it was.
    """

    def __init__(self, data_root: str = '', with_label: bool = False, ann_file: str = '', **kwargs: Any) -> None:
        self.with_label = with_label
        # The index is one block of memory already.
        super().__init__(ann_file=ann_file, data_root=data_root, serialize_data=False, **kwargs)

    def load_data_list(self) -> Sequence[dict]:
        if self.ann_file:
            raise InputError(
                f'ImageShards does not support an image list (ann_file={self.ann_file!r}). Make shards from a folder '
                'that holds only these images.'
            )
        folder = Path(self.img_prefix)
        index = ShardIndex.read(folder)
        if self.with_label:
            self._set_labels(f'folder of shards {str(folder)!r}', index)
        return _ShardRows(str(folder), index, self.with_label)

    def _set_labels(self, place: str, index: ShardIndex) -> None:
        outside = int((index.label < 0).sum())
        if outside == len(index):
            raise InputError(
                f'{place} was made from a folder without class folders, so it has no labels. Make it from a folder '
                'with class folders, or set with_label=False.'
            )
        self.set_classes(index.classes.tolist(), place)
        if outside:
            message = f'{outside} images of {place} lie outside the class folders and are left out'
            print_log(message, logger='current', level=logging.WARNING)


def image_files(root: Path, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> dict[str, str]:
    """Lists the images of a folder, or of a folder of shards.

    Args:
        root: the folder; it is one of shards if it has an ``index.npz``.
        extensions: of image files, in small letters.

    Returns:
        The path of each image in the folder, and the path or address by which it is read.

    Raises:
        InputError: if there is no image, or an index or a shard is missing or damaged.
    """
    if not (root / SHARD_INDEX).is_file():
        return {path: os.path.join(root, path) for path in find_images(root, extensions)}
    index = ShardIndex.read(root)
    names = ((number, index.path(number)) for number in range(len(index)))
    files = {path: index.address(root, number) for number, path in names if path.lower().endswith(tuple(extensions))}
    if not files:
        raise InputError(
            f'the shards in {str(root)!r} hold no images ({", ".join(sorted(extensions))}). Choose other shards.'
        )
    return files


def size_and_time(path: str) -> tuple[int, int]:
    """Bytes of an image of :func:`image_files`, and when its file, or its shard, was changed last, in ns.

    Raises:
        OSError: if it cannot be read.
    """
    address = _ADDRESS.match(path)
    status = os.stat(path if address is None else address[1])
    return status.st_size if address is None else int(address[3]), status.st_mtime_ns
