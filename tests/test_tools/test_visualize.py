"""tools/visualize_attention.py; the others are in test_tokenize_images.py."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch
from mmengine.registry import MODELS

from tests.conftest import refused, run_tool, tiny_pretraining


@pytest.fixture
def command(tmp_path: Path, image_folder: Path) -> list[str]:
    (tmp_path / 'config.py').write_text(f'model = {tiny_pretraining()!r}\n')
    torch.save(MODELS.build(tiny_pretraining()).state_dict(), tmp_path / 'model.pth')
    image = image_folder / 'cat/nested/0.jpg'
    return ['visualize_attention', str(tmp_path / 'config.py'), str(tmp_path / 'model.pth'), str(image)]


def test_attention_is_drawn(tmp_path: Path, command: list[str]) -> None:
    run_tool(*command, '--out', str(tmp_path / 'new' / 'attention.png'), '--patch', '0', '3')
    assert cv2.imread(str(tmp_path / 'new' / 'attention.png')).std() > 1
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['attention.png']


def test_bad_input_to_visualize_attention(tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture) -> None:
    out = str(tmp_path / 'attention.png')
    image = Path(command[-1])
    before = image.read_bytes()
    assert 'must end in one of' in refused(capsys, *command, '--out', str(tmp_path / 'a.xyz'))
    assert 'inside the images' in refused(capsys, *command, '--out', str(image))
    assert 'lies outside the grid' in refused(capsys, *command, '--out', out, '--patch', '4', '0')
    assert image.read_bytes() == before
    assert not Path(out).exists()
