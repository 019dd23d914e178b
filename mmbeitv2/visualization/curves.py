"""Curves from the logs of runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mmbeitv2.errors import InputError

Curve = tuple[Sequence[float], Sequence[float]]


def read_curve(work_dir: Path, key: str) -> Curve:
    """Steps and values of one number in the logs of a run; where a resumed run went a way twice, the later one counts.

    Raises:
        InputError: if there is no log, or no such number in it.
    """
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not files:
        raise InputError(f'no log in {str(work_dir)!r}: give the work dir of a run (it holds */vis_data/scalars.json)')
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    values = {row.get('iter', row['step']): row[key] for row in rows if key in row}
    if not values:
        keys = ', '.join(sorted({name for row in rows for name in row}))
        raise InputError(f'the logs in {str(work_dir)!r} have no {key!r}: choose one of {keys}')
    steps = sorted(values)
    return steps, [values[step] for step in steps]
