"""Images in tar files, which an index makes readable in any order.

``tools/make_shards.py`` makes a folder of ordinary tar files and ``index.npz``, which holds the tar file, the offset
and the original path of each image. An image's address, ``mmbeitv2-tar://SHARD?OFFSET+LENGTH#PATH``, is read by
mmengine's ``fileio``, so every transform that reads image paths can read shards.

This is our own code because webdataset, from version 1.0 on, reads tar files from the beginning only, and the package
datasets copies Parquet files into its cache before it reads them in any order.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mmengine.fileio import BaseStorageBackend, register_backend

from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS, SHARD_INDEX, ImageFolder, find_images
from mmbeitv2.errors import InputError
from mmbeitv2.registry import DATASETS

PREFIX = 'mmbeitv2-tar'
_ADDRESS = re.compile(PREFIX + r'://(.*?)\?(\d+)\+(\d+)#', re.DOTALL)


def read_index(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Reads the index of a folder of shards and compares the tar files with it.

    Returns:
        The path of each image, relative to the folder from which the shards were made, with its address; and the names
        of the class folders.

    Raises:
        InputError: if the index or a tar file is missing, truncated, or not what it was.
    """
    path = folder / SHARD_INDEX
    try:
        with np.load(path) as index:
            sizes = dict(zip(index['shards'].tolist(), index['sizes'].tolist(), strict=True))
            shards = {number: os.path.join(folder, name) for number, name in enumerate(sizes)}
            names, ends = index['names'].tobytes(), index['name_ends'].tolist()
            places = zip(*(index[key].tolist() for key in ('shard', 'offset', 'length')), strict=True)
            files = {}
            for (shard, offset, length), start, end in zip(places, ends[:-1], ends[1:], strict=True):
                name = os.fsdecode(names[start:end])
                files[name] = f'{PREFIX}://{shards[shard]}?{offset}+{length}#{name}'
            classes = index['classes'].tolist()
    except FileNotFoundError:
        raise InputError(
            f'folder of shards {str(folder)!r} has no {SHARD_INDEX}. Run tools/make_shards.py until it has '
            'finished, or correct the path.'
        ) from None
    except (OSError, EOFError, ValueError, TypeError, LookupError, zipfile.BadZipFile) as error:
        raise InputError(
            f'{str(path)!r} is damaged, or is not an index of shards. Remove it and run tools/make_shards.py again.'
        ) from error
    for shard, size in zip(shards.values(), sizes.values(), strict=True):
        found = os.path.getsize(shard) if os.path.isfile(shard) else None
        if found != size:
            raise InputError(
                f'shard {shard!r} is {"missing" if found is None else "truncated or not the same"}: '
                f'{SHARD_INDEX} says {size:,} bytes, found are {found or 0:,}. Copy it again, or run '
                'tools/make_shards.py again.'
            )
    return files, classes


@lru_cache(maxsize=256)
def _opened(path: str) -> BinaryIO:
    """A shard, which stays open: most of its images follow. pread does not move it, so processes can share it."""
    return open(path, 'rb')


class TarBackend(BaseStorageBackend):
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

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        return self.get(filepath).decode(encoding)


register_backend('mmbeitv2.TarBackend', TarBackend, force=True, prefixes=PREFIX)


@DATASETS.register_module()
class ImageShards(ImageFolder):
    """The images of tar files that ``tools/make_shards.py`` made, in the order and with the labels of ``ImageFolder``.

    Args:
        data_root: folder of the data.
        ann_file: must be empty: all images of the shards are taken.
        kwargs: ``data_prefix``, the folder of the shards and their index in ``data_root``; and see
            :class:`ImageFolder`.

    Raises:
        InputError: if the index or a shard is missing, truncated, or not what it was.
    """

    def __init__(self, data_root: str = '', ann_file: str = '', **kwargs: Any) -> None:
        if ann_file:
            raise InputError(
                f'ImageShards does not support an image list (ann_file={ann_file!r}). Make shards from a folder that '
                'holds only these images.'
            )
        super().__init__(data_root=data_root, **kwargs)

    def find_files(self) -> tuple[dict[str, str], list[str]]:
        return read_index(Path(self.img_prefix))


def image_files(root: Path, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> dict[str, str]:
    """Lists the images of a folder, or of a folder of shards.

    Args:
        root: the folder; it is one of shards if it has an ``index.npz``.
        extensions: of image files, in lower case; of shards, all images are taken.

    Returns:
        The path of each image in the folder, and the path or address by which it is read.

    Raises:
        InputError: if there is no image, or an index or a shard is missing or damaged.
    """
    if (root / SHARD_INDEX).is_file():
        return read_index(root)[0]
    return {path: os.path.join(root, path) for path in find_images(root, extensions)}


def size_and_time(path: str) -> tuple[int, int]:
    """Bytes of an image of :func:`image_files`, and when its file, or its shard, was changed last, in ns.

    Raises:
        OSError: if it cannot be read.
    """
    address = _ADDRESS.match(path)
    status = os.stat(path if address is None else address[1])
    return status.st_size if address is None else int(address[3]), status.st_mtime_ns
