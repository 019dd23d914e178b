from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmbeitv2.visualization.curves import distinct_names, read_curve


def write_log(work_dir: Path, name: str, rows: list[dict]) -> None:
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(json.dumps(row) for row in rows))


def test_a_resumed_run_is_one_curve(tmp_path: Path) -> None:
    write_log(tmp_path, '20261121_100000', [dict(step=i, iter=i, loss=10.0 - i) for i in range(1, 6)])
    write_log(
        tmp_path, '20261121_110000', [dict(step=i, iter=i, loss=-1.0) for i in range(4, 8)] + [dict(step=7, top1=5)]
    )
    assert read_curve(tmp_path, 'loss') == ([1, 2, 3, 4, 5, 6, 7], [9.0, 8.0, 7.0, -1.0, -1.0, -1.0, -1.0])
    assert read_curve(tmp_path, 'top1') == ([7], [5])
    with pytest.raises(ValueError, match="have no 'lss'. Choose one of iter, loss, step, top1"):
        read_curve(tmp_path, 'lss')
    with pytest.raises(ValueError, match='no log in'):
        read_curve(tmp_path / 'none', 'loss')


def test_half_a_last_line_is_left_out_and_a_damaged_line_is_named(tmp_path: Path) -> None:
    write_log(tmp_path, '20261121_100000', [dict(step=i, loss=1.0) for i in range(1, 4)])
    file = tmp_path / '20261121_100000/vis_data/scalars.json'
    whole = file.read_text()
    for half in ('\n{"step": 4, "lo', '\n', '\n12', '\n{}'):
        file.write_text(whole + half)
        assert read_curve(tmp_path, 'loss')[0] == [1, 2, 3]
    file.write_text('{"step": 1, "lo\n' + whole)
    with pytest.raises(ValueError, match='line 1 of .*scalars.json'):
        read_curve(tmp_path, 'loss')


def test_what_is_no_number_is_not_drawn(tmp_path: Path) -> None:
    write_log(tmp_path, '20261121_100000', [dict(step=1, mode='train')])
    with pytest.raises(ValueError, match="'mode' .* is not a number"):
        read_curve(tmp_path, 'mode')


def test_names_of_runs_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    runs = [tmp_path / path for path in ('a/seed_0/pretrain', 'b/seed_0/pretrain', 'b/seed_1/pretrain')]
    assert list(distinct_names(runs)) == ['a/seed_0/pretrain', 'b/seed_0/pretrain', 'b/seed_1/pretrain']
    assert list(distinct_names(runs[1:])) == ['seed_0/pretrain', 'seed_1/pretrain']
    assert list(distinct_names([runs[0], runs[0]])) == ['pretrain']
