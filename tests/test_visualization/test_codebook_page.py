from __future__ import annotations

import base64
import json
import re

import cv2
import numpy as np
import pytest

from mmbeitv2.errors import InputError
from mmbeitv2.visualization.codebook import codebook_page, require_drawable
from mmbeitv2.visualization.pictures import cut_windows, places_of, spread_codes


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


def test_places_come_from_different_images_first(codes: np.ndarray) -> None:
    codes[:, 0, 0] = 9
    codes[0, :2] = 9
    places = places_of(codes, 9, 7)
    assert sorted(places[:5, 0]) == [0, 1, 2, 3, 4]
    assert all(codes[tuple(place)] == 9 for place in places)
    assert len(places_of(codes, 9, 100)) == (codes == 9).sum()


def test_spread_codes_run_from_the_most_to_the_least_used() -> None:
    codes = np.repeat(np.arange(5), [10, 50, 1, 30, 20])
    assert spread_codes(codes, 3).tolist() == [1, 4, 2]
    assert spread_codes(codes, 9).tolist() == [1, 3, 4, 0, 2]


def test_the_page_holds_every_code_and_needs_nothing_else(images: np.ndarray, codes: np.ndarray) -> None:
    page = codebook_page(images, codes, num_codes=8, title='</script> & co <!--<script>', per_code=3, tile=40)
    assert not re.search(r'(src|href)="|https?://', page)
    text = re.search(r'const data = (.*);\n', page)[1]
    assert '<' not in text
    data = json.loads(text)
    assert data['title'] == '</script> & co <!--<script>'
    assert [row['code'] for row in data['rows']] == np.unique(codes).tolist()
    for row in data['rows']:
        is_here = codes == row['code']
        assert row['count'] == is_here.sum()
        strip = cv2.imdecode(
            np.frombuffer(base64.b64decode(row['strip'].partition('base64,')[2]), np.uint8), cv2.IMREAD_COLOR
        )
        assert strip.shape == (40, 40 * min(3, is_here.sum()), 3)
        assert row['map'][is_here.sum(axis=0).argmax()] == 100


@pytest.mark.parametrize(
    ('settings', 'message'), [((1000, 56), '1000 patches of 56 pixels'), ((10, 2), 'patches of 2 pixels')]
)
def test_a_page_that_cannot_be_drawn_is_refused_before_anything_is_read(
    settings: tuple[int, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        require_drawable(None, None, *settings)
    require_drawable(None, None, 5, 40)
