"""Packs a folder of images into tar shards with an index."""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS, SHARD_INDEX, class_folders, find_images
from mmbeitv2.datasets.shards import ShardIndex
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import PARTIAL, open_atomically
from mmbeitv2.fileio.folders import claim_folder, require_claimable, require_own_place
from mmbeitv2.fileio.locking import hold_folder

# Name in the mark of the folder of shards.
_TOOL = 'make_shards.py'
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Member:
    """An image in a tar file: path, size in bytes, time of the last change in seconds."""

    path: str
    size: int
    mtime: int


def make_shards(args: argparse.Namespace) -> None:
    """Packs a folder; see ``tools/make_shards.py --help`` for ``args``.

    Raises:
        InputError: if there is no image, one cannot be read, or the shards cannot be written.
    """
    extensions = IMAGE_EXTENSIONS if args.extensions is None else [each.lower() for each in args.extensions]
    count = pack_folder(args.images, args.out, args.shard_size, extensions)
    sys.stdout.write(f'{count} images: {args.out}\n')


def pack_folder(root: Path, out: Path, shard_size: int, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> int:
    """Makes the shards of a folder, or those that are still missing.

    Args:
        root: folder of images, of any depth.
        out: a new folder, or the folder of an interrupted run; existing shards are not replaced.
        shard_size: largest size of a shard in bytes.
        extensions: of image files, in lower case.

    Returns:
        Number of images.

    Raises:
        InputError: if there is no image, one cannot be read, or the shards cannot be written.
    """
    paths = find_images(root, extensions)
    require_own_place(out, keep=[root])
    if out.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f'the output folder {str(out)!r} lies inside the image folder {str(root)!r}. Choose a folder outside of it.'
        )
    require_claimable(out, _TOOL)
    plan = list(plan_shards(root, paths, shard_size))
    claim_folder(out, _TOOL)
    hold_folder(out, _TOOL, 'folder')
    if (out / SHARD_INDEX).exists():
        _require_same(out, ShardIndex.read(out), plan)
        return len(paths)
    for partial in out.glob(f'shard-*.tar{PARTIAL}'):  # left by a kill
        partial.unlink()
    _require_space(out, plan)
    index = write_shards(root, out, plan, class_folders(str(root), paths))
    with open_atomically(out / SHARD_INDEX) as stream:
        index.write(stream)
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
            if not stat.S_ISREG(status.st_mode):
                raise InputError('it is not a regular file')
        except (OSError, InputError) as error:
            raise _unreadable(root / path, error) from error
        if shard and size + _padded(status.st_size) > shard_size:
            yield shard
            shard, size = [], 0
        shard.append(Member(path, status.st_size, int(status.st_mtime)))
        size += _padded(status.st_size)
    yield shard


def write_shards(root: Path, out: Path, plan: list[list[Member]], classes: list[str]) -> ShardIndex:
    """Writes the missing shards and returns the index of all of them.

    Raises:
        InputError: if an existing shard holds other images, an image changes while it is written, or the disk is full.
    """
    names = [f'shard-{number:05}.tar' for number in range(len(plan))]
    count = sum(map(len, plan))
    shard, offset, length, label = (np.empty(count, kind) for kind in (np.int32, np.int64, np.int64, np.int32))
    numbers = {name: number for number, name in enumerate(classes)}
    start = 0
    with tqdm(total=count, unit='image', smoothing=0.05) as progress:
        for number, (name, members) in enumerate(zip(names, plan, strict=True)):
            path = out / name
            if path.exists():  # from a run that was stopped
                progress.update(len(members))
            else:
                with open_atomically(path) as stream:
                    write_tar(root, members, stream, progress)
            found = dict(read_tar(path))
            if list(found) != members:
                raise InputError(
                    f'shard {str(path)!r} does not match the images that {str(root)!r} holds now (other images, or '
                    'another --shard-size). Choose a new output folder.'
                )
            rows = slice(start, start := start + len(members))
            shard[rows], offset[rows] = number, list(found.values())
            length[rows] = [member.size for member in members]
            label[rows] = [
                numbers[path.split('/')[0]] if '/' in path else -1 for path in (member.path for member in members)
            ]
    encoded = [os.fsencode(member.path) for members in plan for member in members]
    return ShardIndex(
        shards=np.array(names),
        sizes=np.array([os.stat(out / name).st_size for name in names], np.int64),
        shard=shard,
        offset=offset,
        length=length,
        label=label,
        names=np.frombuffer(b''.join(encoded), np.uint8),
        name_ends=np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        classes=np.array(classes, dtype=np.str_),
    )


def write_tar(root: Path, members: list[Member], stream: BinaryIO, progress: tqdm) -> None:
    """Writes images into a tar file.

    Raises:
        InputError: if an image cannot be read, or has changed since it was planned.
    """
    with tarfile.open(fileobj=stream, mode='w', format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            try:
                content = (root / member.path).read_bytes()
            except OSError as error:
                raise _unreadable(root / member.path, error) from error
            if len(content) != member.size:
                raise InputError(
                    f'image {str(root / member.path)!r} changed while the shards were written. Run the same command '
                    'again when nothing writes to the folder.'
                )
            header = tarfile.TarInfo(member.path)
            header.size, header.mtime = member.size, member.mtime
            tar.addfile(header, BytesIO(content))
            progress.update()


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


def _require_same(out: Path, index: ShardIndex, plan: list[list[Member]]) -> None:
    """Refuses to replace existing shards by shards of other images."""
    found = (member for name in index.shards.tolist() for member, _ in read_tar(out / name))
    members = (member for shard in plan for member in shard)
    if any(one != other for one, other in zip_longest(found, members)):
        raise InputError(
            f'{str(out)!r} holds the shards of other images, or of earlier versions of these images. Choose a '
            'new folder.'
        )


def _require_space(out: Path, plan: list[list[Member]]) -> None:
    there = sum(path.stat().st_size for path in out.glob('shard-*.tar'))
    needed = sum(_padded(member.size) for shard in plan for member in shard) - there
    free = shutil.disk_usage(out).free
    if needed > free:
        raise InputError(
            f'the shards need {needed / 1e6:,.1f} MB more, but only {free / 1e6:,.1f} MB are free in {str(out)!r}. '
            'Free some space, or choose a folder on another disk.'
        )


def _padded(size: int) -> int:
    """Bytes in a tar file of a file with a short name."""
    return _BLOCK + -(-size // _BLOCK) * _BLOCK


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f'image {str(path)!r} cannot be read ({getattr(error, "strerror", None) or error}). Remove or replace it.'
    )
