from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from mmbeitv2.demo import clip
from mmbeitv2.errors import InputError

SMALL = [
    '--img-size',
    '16',
    '--patch-size',
    '8',
    '--width',
    '32',
    '--layers',
    '1',
    '--epochs',
    '1',
    '--batch-size',
    '8',
]


def main(monkeypatch: pytest.MonkeyPatch, *argv: str) -> None:
    monkeypatch.setattr(sys, 'argv', ['clip', *argv, *SMALL])
    clip.main()


def test_the_folder_that_it_writes_is_a_teacher(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'clip'
    for _ in range(2):  # the second time it replaces what it wrote
        main(monkeypatch, str(image_folder), str(out))
    assert 'epoch 1/1  loss' in capsys.readouterr().out
    teacher = MODELS.build(dict(type='mmbeitv2.OpenCLIPTeacher', model=f'local-dir:{out}'))
    assert teacher(torch.rand(2, 3, 16, 16), (2, 2)).shape == (2, 4, 32)


def test_a_folder_of_the_user_is_refused_before_the_training(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(clip, 'train', lambda *_: pytest.fail('it trained'))
    precious = tmp_path / 'precious'
    precious.mkdir()
    (precious / 'thesis.txt').touch()
    for out, message in ((precious, "holds 'thesis.txt'"), (image_folder.parent, 'Choose another output folder')):
        with pytest.raises(SystemExit):
            main(monkeypatch, str(image_folder), str(out))
        assert message in capsys.readouterr().err
    assert [path.name for path in precious.iterdir()] == ['thesis.txt']


def test_an_image_outside_the_class_folders_is_named(image_folder: Path) -> None:
    (image_folder / 'stray.jpg').write_bytes((image_folder / 'cat/nested/0.jpg').read_bytes())
    with pytest.raises(InputError, match='stray.jpg. is not in a class folder'):
        clip.read_pairs(image_folder)
