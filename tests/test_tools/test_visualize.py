"""tools/visualize_attention.py, which docs/guides/look.md runs; the others are in test_tokenize_images.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from tests.conftest import refused, tiny_pretraining


def test_bad_input_to_visualize_attention(tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'config.py').write_text(f'model = {tiny_pretraining()!r}\n')
    torch.save(MODELS.build(tiny_pretraining()).state_dict(), tmp_path / 'model.pth')
    image, out = image_folder / 'cat/nested/0.jpg', tmp_path / 'attention.png'
    command = ['visualize_attention', str(tmp_path / 'config.py'), str(tmp_path / 'model.pth'), str(image)]
    before = image.read_bytes()
    assert 'must end in one of' in refused(capsys, *command, '--out', str(tmp_path / 'a.xyz'))
    assert 'inside the images' in refused(capsys, *command, '--out', str(image))
    assert 'lies outside the grid' in refused(capsys, *command, '--out', str(out), '--patch', '4', '0')
    assert image.read_bytes() == before
    assert not out.exists()
