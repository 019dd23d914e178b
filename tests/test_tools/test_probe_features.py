from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from tests.conftest import MASKED, refused, run_tool, tiny_pretraining


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A tiny pretrained model, and images of two classes that differ in brightness."""
    rng = np.random.default_rng(0)
    for split in ('bank', 'query'):
        for name, value in (('dark', 50), ('bright', 190)):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(10):
                cv2.imwrite(str(folder / f'{i}.png'), np.uint8(value + rng.integers(-40, 40, (36, 36, 3))))
    config = tmp_path / 'pretrain.py'
    config.write_text(f'model = {tiny_pretraining()!r}\ntrain_dataloader = dict(dataset=dict(pipeline={MASKED!r}))\n')
    torch.save(MODELS.build(tiny_pretraining()).state_dict(), tmp_path / 'model.pth')
    return [
        'probe_features',
        str(config),
        str(tmp_path / 'model.pth'),
        '--bank',
        str(tmp_path / 'bank'),
        '--query',
        str(tmp_path / 'query'),
        '--num-workers',
        '0',
        '--device',
        'cpu',
    ]


def test_features_of_a_pretrained_backbone_are_probed(tmp_path: Path, command: list[str]) -> None:
    run_tool(*command, '--json', str(tmp_path / 'probe.json'))
    assert json.loads((tmp_path / 'probe.json').read_text()) == {'knn_top1': 100, 'linear_top1': 100}


def test_images_outside_the_class_folders_are_refused(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'query' / 'dark' / '0.png').rename(tmp_path / 'query' / 'stray.png')
    assert "stray.png' is not in a class folder" in refused(capsys, *command)


def test_both_folders_must_have_the_same_classes(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'query' / 'dark').rename(tmp_path / 'query' / 'other')
    assert 'must have the same class folders' in refused(capsys, *command)
    for split in ('bank', 'query'):
        for name in ('dark', 'other'):
            shutil.rmtree(tmp_path / split / name, ignore_errors=True)
    assert 'has only one class folder' in refused(capsys, *command)


def test_bad_input_to_probe_features(tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'folder.json').mkdir()
    for path, message in (
        ('folder.json', 'is a folder'),
        ('model.pth', 'must end in .json'),
        ('model.pth/x.json', 'not a folder'),
    ):
        assert message in refused(capsys, *command, '--json', str(tmp_path / path))
    assert 'must be a whole number' in refused(capsys, *command, '--num-neighbors', '0', code=2)
