from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmbeitv2.visualization.curves import read_curve


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
    with pytest.raises(ValueError, match="have no 'lss': choose one of iter, loss, step, top1"):
        read_curve(tmp_path, 'lss')
    with pytest.raises(ValueError, match='no log in'):
        read_curve(tmp_path / 'none', 'loss')
