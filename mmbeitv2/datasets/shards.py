"""Images in tar files, which an index makes readable in any order.

``tools/make_shards.py`` makes a folder of ordinary tar files and ``index.npz``, whose arrays hold the tar file, the
offset and the original path of each image. The arrays are shared by all data-loading workers: 14 million images take
0.9 GB. An image's address, ``tar://SHARD?OFFSET+LENGTH#PATH``, is read by mmengine's ``fileio``, so every transform
that reads image paths can read shards.
"""

from __future__ import annotations

import logging
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from mmengine.fileio import BaseStorageBackend, register_backend
from mmengine.logging import print_log

from mmbeitv2.datasets.image_dataset import ImageDataset, Rows
from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS, SHARD_INDEX, find_images
from mmbeitv2.errors import InputError
from mmbeitv2.registry import DATASETS

# Open at once in a process; a process may usually open 1024 files.
_MAX_OPEN = 256
_ADDRESS = re.compile(r'tar://(.*?)\?(\d+)\+(\d+)#', re.DOTALL)


@dataclass(frozen=True)
class ShardIndex:
    """The positions of the images in a set of shards.

    Attributes:
        shards: names of the tar files, (s,).
        sizes: of the tar files in bytes, (s,) int64.
        shard: of each image, (n,) int32.
        offset: of its first byte in the shard, (n,) int64.
        length: in bytes, (n,) int64.
        label: number of its class folder, -1 outside of them, (n,) int32.
        names: the paths of the images, one after the other, uint8.
        name_ends: offset of each path in ``names``, and the end of the last one, (n + 1,) int64.
        classes: names of the class folders, (c,).
    """

    shards: np.ndarray
    sizes: np.ndarray
    shard: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    label: np.ndarray
    names: np.ndarray
    name_ends: np.ndarray
    classes: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> ShardIndex:
        """Reads the index of a folder and compares the tar files with it.

        Raises:
            InputError: if the index or a tar file is missing, cut off, or not what it was.
        """
        if not folder.is_dir():
            raise InputError(f'folder of shards {str(folder)!r} not found. Check the path.')
        path = folder / SHARD_INDEX
        try:
            with np.load(path) as content:
                index = cls(**{field.name: content[field.name] for field in fields(cls)})
            index._check_arrays()
        except FileNotFoundError:
            raise InputError(
                f'folder {str(folder)!r} has no {SHARD_INDEX}. Run tools/make_shards.py until it has finished, or '
                'choose another folder.'
            ) from None
        except (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile) as error:
            raise InputError(
                f'{str(path)!r} is damaged, or is not an index of shards. Remove it and run tools/make_shards.py again.'
            ) from error
        index._check_shards(folder)
        return index

    def write(self, stream: BinaryIO) -> None:
        np.savez(stream, **{field.name: getattr(self, field.name) for field in fields(self)})

    def _check_arrays(self) -> None:
        """Raises an error if the arrays contradict each other."""
        count = len(self.shard)
        if not len(self.offset) == len(self.length) == len(self.label) == len(self.name_ends) - 1 == count:
            raise ValueError('the arrays differ in length')
        if len(self.sizes) != len(self.shards) or self.name_ends[-1] != len(self.names) or (self.offset < 0).any():
            raise ValueError('the arrays do not belong together')
        if (self.offset + self.length > self.sizes[self.shard]).any():  # an IndexError where there is no such shard
            raise ValueError('an image lies beyond the end of its shard')

    def _check_shards(self, folder: Path) -> None:
        for name, size in zip(self.shards.tolist(), self.sizes.tolist(), strict=True):
            try:
                found = os.stat(folder / name).st_size
            except OSError as error:
                raise InputError(
                    f'shard {str(folder / name)!r} cannot be read ({error.strerror}). Put it back, or run '
                    'tools/make_shards.py again.'
                ) from error
            if found != size:
                kind = 'is truncated' if found < size else 'is not the one of the index'
                raise InputError(
                    f'shard {str(folder / name)!r} {kind} ({found:,} bytes; {SHARD_INDEX} says {size:,}). Copy it '
                    'again, or run tools/make_shards.py again.'
                )

    def __len__(self) -> int:
        return len(self.shard)

    def path(self, number: int) -> str:
        """Path of an image, relative to the folder from which the shards were made."""
        return os.fsdecode(self.names[self.name_ends[number] : self.name_ends[number + 1]].tobytes())

    def address(self, folder: str | Path, number: int) -> str:
        """The address under which ``mmengine.fileio`` reads an image."""
        shard = os.path.join(folder, self.shards[self.shard[number]])
        return f'tar://{shard}?{self.offset[number]}+{self.length[number]}#{self.path(number)}'


class TarBackend(BaseStorageBackend):
    """Reads ``tar://SHARD?OFFSET+LENGTH#PATH``: LENGTH bytes of a file from OFFSET on."""

    def get(self, filepath: str | Path) -> bytes:
        """The bytes of an image.

        Raises:
            OSError, InputError: if the file cannot be read, or is truncated.
        """
        address = _ADDRESS.match(str(filepath))
        if address is None:
            raise InputError(f'{str(filepath)!r} is not the address of an image in a shard')
        shard, offset, length = address[1], int(address[2]), int(address[3])
        stream = _open(shard)
        # Independent of the position in the file, which processes that were forked share.
        content = os.pread(stream.fileno(), length, offset)
        if len(content) < length:
            raise InputError(f'shard {shard!r} is truncated')
        return content

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        return self.get(filepath).decode(encoding)


@lru_cache(maxsize=_MAX_OPEN)
def _open(path: str) -> FileIO:
    """Closed when the cache drops it and nobody reads from it any more."""
    return FileIO(path)


register_backend('mmbeitv2.TarBackend', TarBackend, force=True, prefixes='tar')


class _ShardRows(Rows):
    """Addresses and labels of the images of an index."""

    def __init__(self, folder: str, index: ShardIndex, with_label: bool) -> None:
        self.folder, self.table, self.with_label = folder, index, with_label
        self.numbers = np.flatnonzero(index.label >= 0) if with_label and (index.label < 0).any() else None

    def __len__(self) -> int:
        return len(self.table) if self.numbers is None else len(self.numbers)

    def row(self, number: int) -> dict:
        if self.numbers is not None:
            number = int(self.numbers[number])
        info = {'img_path': self.table.address(self.folder, number)}
        return info | {'gt_label': int(self.table.label[number])} if self.with_label else info


@DATASETS.register_module()
class ImageShards(ImageDataset):
    """The images of tar files that ``tools/make_shards.py`` made, in the order and with the labels of ``ImageFolder``.

    Args:
        data_root: folder of the data.
        data_prefix: folder of the shards and their index in ``data_root``.
        ann_file: must be empty: all images of the shards are taken.
        with_label: take the label from the class folder in which the image lay.
        max_unreadable: see :class:`ImageDataset`.
        kwargs: see mmpretrain's ``BaseDataset``.

    Raises:
        InputError: if the index or a shard is missing, cut off, or not what it was.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: str | dict = '',
        ann_file: str = '',
        with_label: bool = False,
        max_unreadable: float = 0.0,
        **kwargs: object,
    ) -> None:
        if ann_file:
            raise InputError(
                f'ImageShards does not support an image list (ann_file={ann_file!r}). Make shards from a folder '
                'that holds only these images.'
            )
        self.with_label = with_label
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix,
            max_unreadable=max_unreadable,
            serialize_data=False,  # the index is one block of memory already
            **kwargs,
        )

    def load_data_list(self) -> Sequence[dict]:
        folder = Path(self.img_prefix)
        index = ShardIndex.read(folder)
        _open.cache_clear()  # a shard may have been made anew
        if self.with_label:
            self._check_labels(f'folder of shards {str(folder)!r}', index)
        return _ShardRows(str(folder), index, self.with_label)

    def _check_labels(self, place: str, index: ShardIndex) -> None:
        outside = int((index.label < 0).sum())
        if outside == len(index):
            raise InputError(
                f'{place} was made from a folder without class folders, so it has no labels. Make it from a folder '
                'with class folders, or set with_label=False.'
            )
        self.take_classes(index.classes.tolist(), place)
        if outside:
            print_log(
                f'{outside} images of {place} lie outside the class folders and are left out',
                logger='current',
                level=logging.WARNING,
            )


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
