from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demo.multispectral import CLASSES, LEVELS, draw_bands, main


def test_the_class_shows_in_bands_3_and_4_and_in_no_other() -> None:
    for near, short in CLASSES:
        drawn, other = (draw_bands(np.random.default_rng(7), *kind) for kind in ((near, short), ('low', 'high')))
        assert (drawn.shape, drawn.dtype) == ((96, 96, 6), np.uint16)
        np.testing.assert_array_equal(drawn[..., [0, 1, 2, 5]], other[..., [0, 1, 2, 5]])
        if near != 'low':
            shift = drawn[..., 3].astype(float) - other[..., 3]
            assert shift.max() == pytest.approx((LEVELS[near] - LEVELS['low']) * 10_000, rel=0.3)


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'thesis.txt').touch()
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert 'is not empty. Choose an empty or a new folder' in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1
