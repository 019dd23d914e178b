"""Curves from the logs of runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mmbeitv2.visualization.pictures import new_figure

Curve = tuple[Sequence[float], Sequence[float]]


def read_curve(work_dir: Path, key: str) -> Curve:
    """Steps and values of one number in the logs of a run; of steps that a resumed run repeats, the later values."""
    lines = [line for file in sorted(work_dir.glob('*/vis_data/scalars.json')) for line in file.open()]
    values = {row.get('iter', row['step']): row[key] for row in map(json.loads, lines) if key in row}
    steps = sorted(values)
    return steps, [values[step] for step in steps]


def draw_curves(panels: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Curves, one panel each: title -> name of the curve -> (steps, values)."""
    figure = new_figure(4 * len(panels), 3)
    for axis, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name, (steps, values) in curves.items():
            axis.plot(steps, values, label=name)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel('step', fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    return figure
