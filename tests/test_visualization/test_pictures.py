from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from mmbeitv2.visualization.codebook import codebook_page
from mmbeitv2.visualization.masks import MaskedPrediction, draw_masks
from mmbeitv2.visualization.pictures import cut_windows, paint_labels


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def codes() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 6, (5, 4, 4))


def test_windows_are_the_patches_with_their_surroundings(images: np.ndarray) -> None:
    places = np.array([[2, 1, 2], [0, 0, 3]])
    inner, corner = cut_windows(images, places, side=8, context=1)
    assert np.array_equal(inner, images[2, 0:24, 8:32])
    padded = np.pad(images[0], ((8, 8), (8, 8), (0, 0)), mode='edge')
    assert np.array_equal(corner, padded[0:24, 24:48])


def test_the_page_holds_every_code_and_needs_nothing_else(images: np.ndarray, codes: np.ndarray) -> None:
    page = codebook_page(images, codes, num_codes=8, title='</title> & <script>')
    assert '<h1>&lt;/title&gt; &amp; &lt;script&gt;</h1>' in page
    assert not any(text in page for text in ('<script', 'http', 'src="/'))
    rows = [line for line in page.splitlines() if 'base64,' in line]
    used = sorted(np.unique(codes), key=lambda code: -(codes == code).sum())
    assert sorted(int(row.split('<td>')[1].partition('<')[0]) for row in rows) == sorted(used)
    for row, code in zip(rows, used, strict=True):
        count = (codes == code).sum()
        assert f'<td>{count}</td>' in row
        content = np.frombuffer(base64.b64decode(row.partition('base64,')[2].partition('"')[0]), np.uint8)
        assert cv2.imdecode(content, cv2.IMREAD_COLOR).shape == (80, 80 * 11, 3)


def test_masks_hide_patches_fade_what_was_seen_and_frame_hits(images: np.ndarray, codes: np.ndarray) -> None:
    masks = np.zeros((5, 4, 4), dtype=bool)
    masks[:, :2] = True
    predicted, colors = codes.copy(), np.random.default_rng(0).random((6, 3))
    predicted[:, 0] = 5 - codes[:, 0]  # all wrong
    axes = np.array(draw_masks(MaskedPrediction(images, masks, codes, predicted, colors, {})).axes).reshape(5, 4)
    image, masked, true, guessed = (np.asarray(axis.images[0].get_array()) for axis in axes[0])
    np.testing.assert_array_equal(image, images[0])
    assert (masked[:16] == 128).all()
    np.testing.assert_array_equal(masked[16:], images[0, 16:])
    np.testing.assert_allclose(true, colors[codes[0]])
    np.testing.assert_allclose(guessed[:2], colors[predicted[0, :2]])
    np.testing.assert_allclose(guessed[2:], 0.75 + 0.25 * true[2:])
    frames = [patch.get_xy() for patch in axes[0, 3].patches if isinstance(patch, Rectangle)]
    assert frames == [(x - 0.5, 0.5) for x in range(4)]
    assert axes[0, 3].get_title() == '50% of 8 right'


def test_a_label_map_has_the_colors_of_its_classes_and_white_where_there_is_none() -> None:
    image = np.full((40, 60, 3), 100, dtype=np.uint8)
    labels = np.full((40, 60), 255)
    labels[:, :20], labels[:, 20:40] = 0, 1
    palette = np.array([[200, 0, 0], [0, 200, 0]], dtype=np.uint8)
    painted = paint_labels(image, labels, palette, alpha=0.5)
    assert [painted[20, x].tolist() for x in (10, 30, 50)] == [[150, 50, 50], [50, 150, 50], [255, 255, 255]]
