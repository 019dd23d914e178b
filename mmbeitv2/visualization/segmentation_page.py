"""One self-contained HTML page that shows how a segmentation does on its test set."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

_TYPES = {'.jpg': 'image/jpeg', '.png': 'image/png'}


def segmentation_page(content: Mapping[str, Any], folder: Path, pictures: Mapping[str, Sequence[Path]]) -> str:
    """A page with the scores of the classes, the confusions and pictures.

    Args:
        content: what report.json holds: ``config``, ``checkpoint``, ``num_images``, ``summary``, ``classes``,
            ``confusions``.
        folder: holds iou.png and confusion.png.
        pictures: files under ``worst`` and ``examples``.

    Returns:
        HTML that needs no other file and no network.
    """
    data = {
        **content,
        'iou': _embedded(folder / 'iou.png'),
        'confusion': _embedded(folder / 'confusion.png'),
        **{kind: [_embedded(path) for path in paths] for kind, paths in pictures.items()},
    }
    template = files('mmbeitv2.visualization').joinpath('segmentation_page.html').read_text(encoding='utf-8')
    # "</" would end the script that holds the data.
    return template.replace('{{DATA}}', json.dumps(data).replace('</', '<\\/'))


def _embedded(path: Path) -> str:
    """A picture as the address of itself."""
    return f'data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}'
