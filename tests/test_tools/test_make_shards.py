from __future__ import annotations

import errno
import io
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from mmengine import fileio

from mmbeitv2.datasets import ImageShards, packing
from mmbeitv2.datasets.shards import read_index
from tests.conftest import refused, run_tool

SIZE = ('--shard-size', '20KB')


def content_of(shards: Path) -> dict[str, bytes]:
    """Images by path, as Python's tarfile reads them."""
    found = {}
    for path in sorted(shards.glob('*.tar')):
        with tarfile.open(path) as tar:
            for member in tar:
                found[member.name] = tar.extractfile(member).read()
    return found


def files_of(folder: Path, pattern: str = '*') -> dict[str, bytes]:
    """Content of the files below a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(pattern) if path.is_file()}


def test_tar_lists_and_extracts_the_images(image_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    run_tool('make_shards', str(image_folder), str(out), *SIZE)
    for path in out.glob('*.tar'):
        assert path.stat().st_size <= 20_000 + tarfile.RECORDSIZE
        subprocess.run(['tar', 'xf', str(path)], cwd=out, check=True)
    assert files_of(out, '*.jpg') == files_of(image_folder)


def test_names_of_all_kinds_and_links_keep_their_content(image_folder: Path, tmp_path: Path) -> None:
    nested = image_folder / 'cat/nested'
    names = ['a b.jpg', 'ünï 猫.jpg', 'line\nbreak.jpg', 'x' * 200 + '.jpg', 'a?1+2#b.jpg', os.fsdecode(b'\xff.jpg')]
    for number, name in enumerate(names):
        (nested / f'{number}.jpg').rename(nested / name)
    (image_folder / 'dog/linked').symlink_to(nested)
    (image_folder / 'dog/link.jpg').symlink_to(nested / names[0])
    run_tool('make_shards', str(image_folder), str(tmp_path / 'out'))
    found = content_of(tmp_path / 'out')
    assert len(found) == 16 + 8 + 1
    assert all(found[f'cat/nested/{name}'] == (nested / name).read_bytes() for name in names)
    assert {path: fileio.get(address) for path, address in read_index(tmp_path / 'out')[0].items()} == found


def test_images_of_many_channels_are_packed_by_their_extension(image_folder: Path, tmp_path: Path) -> None:
    np.save(image_folder / 'cat' / 'six.npy', np.zeros((8, 8, 6), np.uint16))
    run_tool('make_shards', str(image_folder), str(tmp_path / 'out'), '--extensions', '.NPY')
    assert list(content_of(tmp_path / 'out')) == ['cat/six.npy']
    load = dict(type='mmbeitv2.LoadChannels', channels=6, dtype='uint16')
    assert ImageShards(str(tmp_path / 'out'), pipeline=[load])[0]['img'].shape == (8, 8, 6)


class Killed(BaseException):
    """As a signal that cannot be caught, for the purpose of a test."""


def test_stopped_in_the_middle_it_has_no_index_and_the_same_command_goes_on(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_tool('make_shards', str(image_folder), str(tmp_path / 'whole'), *SIZE)
    out = tmp_path / 'out'
    write_tar, written = packing.write_tar, []

    def stopped(root: Path, members: list, stream: io.BufferedWriter) -> None:
        write_tar(root, members[: 1 if len(written) == 2 else None], stream)
        written.append(members)
        if len(written) == 3:
            raise Killed

    monkeypatch.setattr(packing, 'write_tar', stopped)
    with pytest.raises(Killed):
        run_tool('make_shards', str(image_folder), str(out), *SIZE)
    assert sorted(path.name for path in out.glob('[!.]*')) == ['shard-00000.tar', 'shard-00001.tar']
    (out / 'shard-00002.tar.0123abcd.tmp').write_bytes(b'half')  # what a kill that cannot be caught leaves
    run_tool('make_shards', str(image_folder), str(out), *SIZE)
    assert len(written) == len(list(out.glob('*.tar'))) + 1  # only the one that was stopped is written twice
    found, whole = files_of(out), files_of(tmp_path / 'whole')
    assert found.keys() == whole.keys()
    assert all(found[name] == content for name, content in whole.items() if name.endswith('.tar'))


def test_shards_of_other_images_are_never_replaced(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ('make_shards', str(image_folder), str(tmp_path / 'out'), *SIZE)
    run_tool(*command)
    before = files_of(tmp_path / 'out')
    run_tool(*command)
    assert files_of(tmp_path / 'out') == before
    path = image_folder / 'cat/nested/0.jpg'
    path.write_bytes(path.read_bytes()[::-1])  # of the same size, as arrays are
    os.utime(path, (0, 0))
    assert 'does not match the images that' in refused(capsys, *command)
    path.unlink()
    assert 'does not match the images that' in refused(capsys, *command)
    assert files_of(tmp_path / 'out') == before
    (tmp_path / 'out/index.npz').unlink()
    assert 'does not match the images that' in refused(capsys, *command)
    assert before.items() - files_of(tmp_path / 'out').items() == {('index.npz', before['index.npz'])}


def test_bad_input_to_make_shards(image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/notes.txt').write_text('mine')
    out = str(tmp_path / 'out')
    for folder, target, message in (
        (tmp_path / 'full', out, 'holds no images'),
        (image_folder, image_folder, 'lies inside the image folder'),
        (image_folder, image_folder / 'cat/out', 'lies inside the image folder'),
        (image_folder, tmp_path / 'full', "was not made by make_shards.py and holds 'notes.txt'"),
        (image_folder, tmp_path / 'full/notes.txt', 'exists and is not a folder'),
    ):
        assert message in refused(capsys, 'make_shards', str(folder), str(target))
    for size in ('0GB', 'x', '-1MB', '1.5', '1PB'):
        arguments = (str(image_folder), out, f'--shard-size={size}')
        assert 'is not a size. Write it like 500MB' in refused(capsys, 'make_shards', *arguments, code=2)
    assert not (tmp_path / 'out').exists()


def test_what_cannot_be_read_or_written_is_one_sentence(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ('make_shards', str(image_folder), str(tmp_path / 'out'))
    odd = image_folder / 'cat/odd.jpg'
    os.mkfifo(odd)
    assert "odd.jpg' cannot be read (it is not a regular file)" in refused(capsys, *command)
    odd.unlink()
    odd.symlink_to('nowhere')
    assert "odd.jpg' cannot be read (No such file or directory)" in refused(capsys, *command)
    odd.unlink()

    def full(self: object, *arguments: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(tarfile.TarFile, 'addfile', full)
    assert "cannot write '" in (message := refused(capsys, *command))
    assert '(No space left on device)' in message
    assert not list((tmp_path / 'out').glob('[!.]*'))
