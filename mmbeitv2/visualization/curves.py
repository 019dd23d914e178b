"""Curves from the logs of runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mmbeitv2.errors import InputError

Curve = tuple[Sequence[float], Sequence[float]]


def read_curve(work_dir: Path, key: str) -> Curve:
    """Steps and values of one number in the logs of a run; where a resumed run repeats steps, the later values count.

    Raises:
        InputError: if there is no log, a line of it cannot be read, or there is no such number in it.
    """
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not files:
        raise InputError(f'no log in {str(work_dir)!r}. Pass the work dir of a run (it holds */vis_data/scalars.json).')
    rows = [row for file in files for row in read_rows(file)]
    values = {row.get('iter', row['step']): row[key] for row in rows if key in row}
    if not values:
        keys = ', '.join(sorted({name for row in rows for name in row})) or '(none, the logs are empty)'
        raise InputError(f'the logs in {str(work_dir)!r} have no {key!r}. Choose one of {keys}.')
    if not all(isinstance(value, (int, float)) for value in values.values()):
        raise InputError(f'{key!r} in the logs in {str(work_dir)!r} is not a number. Choose another key.')
    steps = sorted(values)
    return steps, [values[step] for step in steps]


def read_rows(file: Path) -> list[dict]:
    """The lines of a log; an incomplete last line, which a killed run may leave, is left out.

    Raises:
        InputError: naming the first line that is not one of mmengine's.
    """
    lines = file.read_text(errors='replace').splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            row['step']
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise InputError(
                f'line {number} of {str(file)!r} is not an entry of a log. Remove that line, or pass another work dir.'
            ) from error
        rows.append(row)
    return rows


def distinct_names(work_dirs: Sequence[Path]) -> dict[str, Path]:
    """Runs by names for a legend: the end of each path, as short as it can be with all of them different."""
    folders = {folder.resolve(): folder for folder in work_dirs}
    longest = max(len(folder.parts) for folder in folders)
    for length in range(1, longest + 1):
        names = {str(Path(*resolved.parts[-length:])): folder for resolved, folder in folders.items()}
        if len(names) == len(folders):
            break
    return names
