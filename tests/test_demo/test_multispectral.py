from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demo.multispectral import CLASSES, LEVELS, draw_bands, main


def test_the_class_shows_in_bands_3_and_4_and_in_no_other() -> None:
    for near, short in CLASSES:
        drawn, other = (draw_bands(np.random.default_rng(7), *kind) for kind in ((near, short), ('low', 'high')))
        assert drawn.shape == (96, 96, 6)
        assert drawn.dtype == np.uint16
        np.testing.assert_array_equal(drawn[..., [0, 1, 2, 5]], other[..., [0, 1, 2, 5]])
        is_object = drawn[..., 3].astype(int) != other[..., 3]
        if near != 'low':
            shift = (drawn[..., 3].astype(float) - other[..., 3])[is_object]
            assert shift.max() == pytest.approx((LEVELS[near] - LEVELS['low']) * 10_000, rel=0.3)


def test_the_set_has_class_folders_and_is_the_same_each_time(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ('a', 'b'):
        main([str(tmp_path / name), '--train', '9', '--val', '9'])
    files = sorted(path.relative_to(tmp_path / 'a') for path in (tmp_path / 'a').rglob('*.npy'))
    assert len(files) == 18
    assert {path.parts[1] for path in files} == {f'{near}-{short}' for near, short in CLASSES}
    assert all((tmp_path / 'a' / file).read_bytes() == (tmp_path / 'b' / file).read_bytes() for file in files)
    with pytest.raises(SystemExit):
        main([str(tmp_path / 'a')])
    assert 'is not empty. Choose an empty or a new folder' in capsys.readouterr().err
