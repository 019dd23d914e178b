"""Packs a folder of images into tar shards with an index."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from tqdm import tqdm

from mmbeitv2.datasets.file_backends import read_file, unreadable_image
from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS, SHARD_INDEX, class_folders, find_images
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import PARTIAL, open_atomically
from mmbeitv2.fileio.folders import claim_folder, require_claimable
from mmbeitv2.fileio.locking import hold_folder

# Name in the mark of the folder of shards.
_TOOL = 'make_shards.py'
_BLOCK = tarfile.BLOCKSIZE


class Member(NamedTuple):
    """An image in a tar file: path, size in bytes, time of the last change in seconds."""

    path: str
    size: int
    mtime: int


def pack_folder(root: Path, out: Path, shard_size: int, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> int:
    """Makes the shards of a folder, or those that are still missing, and the index last.

    Args:
        root: folder of images, of any depth.
        out: a new folder, or the folder of an interrupted run; existing shards are not replaced.
        shard_size: largest size of a shard in bytes.
        extensions: of image files, in lower case.

    Returns:
        Number of images.

    Raises:
        InputError: if there is no image, one cannot be read or changes, or the shards cannot be written.
    """
    paths = find_images(root, extensions)
    if out.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f'the output folder {str(out)!r} lies inside the image folder {str(root)!r}. Choose a folder outside of it.'
        )
    require_claimable(out, _TOOL)
    plan = {f'shard-{number:05}.tar': members for number, members in enumerate(plan_shards(root, paths, shard_size))}
    claim_folder(out, _TOOL)
    hold_folder(out, _TOOL, 'folder')
    for partial in out.glob(f'shard-*.tar{PARTIAL}'):  # left by a kill
        partial.unlink()
    if {path.name for path in out.glob('shard-*.tar')} - plan.keys():
        raise _other_images(out, root)
    offsets: list[int] = []
    with tqdm(total=len(paths), unit='image', smoothing=0.05) as progress:
        for name, members in plan.items():
            if not (out / name).exists():
                with open_atomically(out / name) as stream:
                    write_tar(root, members, stream)
            found = dict(read_tar(out / name))
            if list(found) != members:
                raise _other_images(out / name, root)
            offsets += found.values()
            progress.update(len(members))
    names = list(map(os.fsencode, paths))
    with open_atomically(out / SHARD_INDEX) as stream:
        np.savez(
            stream,
            shards=np.array(list(plan)),
            sizes=np.array([os.path.getsize(out / name) for name in plan], np.int64),
            shard=np.repeat(np.arange(len(plan), dtype=np.int32), [len(members) for members in plan.values()]),
            offset=np.array(offsets, np.int64),
            length=np.array([member.size for members in plan.values() for member in members], np.int64),
            names=np.frombuffer(b''.join(names), np.uint8),
            name_ends=np.cumsum([0, *map(len, names)], dtype=np.int64),
            classes=np.array(class_folders(str(root), paths), dtype=np.str_),
        )
    return len(paths)


def plan_shards(root: Path, paths: list[str], shard_size: int) -> Iterator[list[Member]]:
    """The images of each shard, in the order of the paths; a shard that would grow beyond ``shard_size`` ends.

    Raises:
        InputError: if an image cannot be read.
    """
    shard: list[Member] = []
    size = 0
    for path in paths:
        try:
            status = os.stat(root / path)
        except OSError as error:
            raise unreadable_image(str(root / path), error) from error
        padded = _BLOCK + -(-status.st_size // _BLOCK) * _BLOCK  # in a tar file, with a short name
        if shard and size + padded > shard_size:
            yield shard
            shard, size = [], 0
        shard.append(Member(path, status.st_size, int(status.st_mtime)))
        size += padded
    yield shard


def write_tar(root: Path, members: list[Member], stream: BinaryIO) -> None:
    """Writes images into a tar file.

    Raises:
        InputError: if an image cannot be read, or has changed since it was planned.
    """
    with tarfile.open(fileobj=stream, mode='w', format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            try:
                content = read_file(str(root / member.path))
            except (OSError, InputError) as error:
                raise unreadable_image(str(root / member.path), error) from error
            if len(content) != member.size:
                raise InputError(
                    f'image {str(root / member.path)!r} changed while the shards were written. Run the same command '
                    'again when nothing writes to the folder.'
                )
            header = tarfile.TarInfo(member.path)
            header.size, header.mtime = member.size, member.mtime
            tar.addfile(header, BytesIO(content))


def read_tar(path: Path) -> Iterator[tuple[Member, int]]:
    """The images in a tar file, and where the bytes of each begin.

    Raises:
        InputError: if it is not a complete tar file.
    """
    try:
        with tarfile.open(path, 'r:') as tar:
            for header in tar:
                yield Member(header.name, header.size, int(header.mtime)), header.offset_data
    except (OSError, tarfile.TarError) as error:
        raise InputError(
            f'shard {str(path)!r} cannot be read ({error}). Remove it, then run the same command again.'
        ) from error


def _other_images(place: Path, root: Path) -> InputError:
    return InputError(
        f'{str(place)!r} does not match the images that {str(root)!r} holds now (other images, earlier versions of '
        'them, or another --shard-size). Choose a new output folder.'
    )
