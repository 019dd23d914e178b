from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import refused, run_tool


@pytest.fixture
def command(tmp_path: Path, pretrained: tuple[str, str]) -> list[str]:
    """The tool with a tiny pretrained model, and images that are dark on the left and bright on the right."""
    rng = np.random.default_rng(0)
    labels = np.repeat([[0] * 24 + [1] * 24], 40, axis=0).astype(np.uint8)
    for split in ('bank', 'query'):
        for name in ('photos', 'labels'):
            (tmp_path / split / name).mkdir(parents=True)
        for i in range(4):
            pixels = (40 + 160 * labels)[..., None] + rng.integers(-30, 30, (40, 48, 3))
            Image.fromarray(np.uint8(pixels)).save(tmp_path / split / 'photos' / f'{i}.jpg')
            Image.fromarray(labels).save(tmp_path / split / 'labels' / f'{i}.png')
    (tmp_path / 'classes.txt').write_text('dark\nbright\n')
    folders = {split: [str(tmp_path / split / name) for name in ('photos', 'labels')] for split in ('bank', 'query')}
    options = ['--bank', *folders['bank'], '--query', *folders['query'], '--classes', str(tmp_path / 'classes.txt')]
    options += ['--num-neighbors', '3', '--num-workers', '0', '--device', 'cpu']
    return ['probe_patches', *pretrained, *options]


@pytest.mark.parametrize('options', [[], ['--layer', '0', '--size', '60']], ids=['plain', 'layer and size'])
def test_patches_of_a_pretrained_backbone_are_probed(tmp_path: Path, command: list[str], options: list[str]) -> None:
    run_tool(*command, *options, '--json', str(tmp_path / 'probe.json'))
    scores = json.loads((tmp_path / 'probe.json').read_text())
    assert sorted(scores) == ['aAcc', 'mAcc', 'mIoU']
    assert min(scores.values()) > 90


def test_bad_input_to_probe_patches(tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture) -> None:
    assert 'layer 2 does not exist: the backbone has 2 blocks' in refused(capsys, *command, '--layer', '2')
    label = tmp_path / 'bank/labels/0.png'
    with Image.open(label) as image:
        labels = np.array(image)
    Image.fromarray(labels + 1).save(label)
    assert "labels/0.png' has the label 2, but the dataset has 2 classes" in refused(capsys, *command)
    (tmp_path / 'classes.txt').write_text('dark\n')
    assert 'have a single class, so every score is 100' in refused(capsys, *command)
