"""The quickstart's picture of two scenes. Network and files are left out: what they give is made up here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from mmengine.config import Config

from demo import pictures
from mmbeitv2.visualization.masks import MaskedPrediction


def test_overview_shows_codes_hides_what_is_masked_and_paints_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (2, 32, 32, 3), dtype=np.uint8)
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[:, :2] = True
    codes, predicted = rng.integers(0, 8, (2, 2, 4, 4))
    colors = rng.random((8, 3))
    truth = [np.zeros((32, 32), np.uint8), np.full((32, 32), 255, np.uint8)]
    scenes = pictures.Scenes([tmp_path] * 2, list(images), truth, ['disc'], np.array([[0, 0, 255]], np.uint8))
    drawn: list[Figure] = []
    monkeypatch.setattr(pictures, 'read_scenes', lambda *_: scenes)
    monkeypatch.setattr(pictures, 'stage_config', lambda *_: Config())
    monkeypatch.setattr(pictures, 'last_checkpoint', lambda *_: '')
    monkeypatch.setattr(pictures, 'segment', lambda *_: truth)
    monkeypatch.setattr(
        pictures, 'predict_masked', lambda *_, **__: MaskedPrediction(images, masks, codes, predicted, colors, {})
    )
    monkeypatch.setattr(pictures, 'write_picture', lambda figure, path, dpi: drawn.append(figure))
    pictures.draw_overview(tmp_path, tmp_path, count=2)
    axes = np.array(drawn[0].axes).reshape(2, 6)
    shown = {
        axis.get_title(): np.asarray(row[0].images[0].get_array()) for axis, row in zip(axes[0], axes.T, strict=True)
    }
    np.testing.assert_array_equal(shown['image'], images[0])
    np.testing.assert_allclose(shown['codes'], colors[codes[0]])
    assert (shown['masked'][:16] == 128).all()
    np.testing.assert_array_equal(shown['masked'][16:], images[0, 16:])
    np.testing.assert_allclose(shown['predicted codes'][:2], colors[predicted[0, :2]])
    np.testing.assert_allclose(shown['predicted codes'][2:], 0.75 + 0.25 * colors[codes[0, 2:]])
    assert (shown['truth'][..., 2] > shown['truth'][..., 0]).mean() > 0.9  # but for the names
    assert (np.asarray(axes[1, 5].images[0].get_array()) == 255).all()
