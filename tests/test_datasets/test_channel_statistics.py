from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmbeitv2.datasets.channel_statistics import channel_statistics
from tests.conftest import refused, run_tool, write_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of different sizes whose values are large beside their spread."""
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for i in range(5):
        values = rng.normal([1e6, 5, -3], [1, 2, 0.5], (10 + i, 12, 3)).astype(np.float32)
        np.save(tmp_path / 'images' / f'{i}.npy', values)
    return tmp_path / 'images'


def test_statistics_are_those_of_all_pixels_together(folder: Path) -> None:
    paths = sorted(folder.iterdir())
    found = channel_statistics(paths)
    pixels = np.concatenate([np.load(path).reshape(-1, 3).astype(np.longdouble) for path in paths])
    np.testing.assert_allclose(found['mean'], pixels.mean(0).astype(float), rtol=1e-12)
    np.testing.assert_allclose(found['std'], pixels.std(0).astype(float), rtol=1e-9)
    np.testing.assert_array_equal((found['min'], found['max']), (pixels.min(0), pixels.max(0)))
    assert (found['images'], found['channels'], found['dtype']) == (5, 3, 'float32')


def test_the_tool_prints_settings_that_a_config_can_hold(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    run_tool('channel_statistics', str(folder), '--sample', '2', '--json', str(tmp_path / 'a.json'))
    text = capsys.readouterr().out
    assert text.startswith('2 images of 3 channels, float32')
    cfg = Config.fromfile(write_config(tmp_path, text[text.index('channel_mean') :]))
    found = json.loads((tmp_path / 'a.json').read_text())
    np.testing.assert_allclose(cfg.channel_mean, found['mean'], rtol=1e-5)
    low, high = np.array(cfg.channel_range).T
    np.testing.assert_allclose(high - low, 4 * np.array(found['std']), rtol=1e-4, atol=5)
    assert cfg.load_channels == dict(type='mmbeitv2.LoadChannels', channels=3, dtype='float32')


def test_a_folder_of_mixed_images_is_refused(folder: Path, capsys: pytest.CaptureFixture) -> None:
    np.save(folder / '9.npy', np.zeros((4, 4, 2), np.float32))
    said = refused(capsys, 'channel_statistics', str(folder))
    assert "9.npy' has 2 channels of type float32, and " in said
    (folder / '9.npy').write_bytes(b'\x93NUMPY')
    assert "9.npy' cannot be read (it is damaged" in refused(capsys, 'channel_statistics', str(folder))
