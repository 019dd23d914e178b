"""Self-contained HTML pages: all pictures and numbers are inside, and nothing in them is read as HTML or a script."""

from __future__ import annotations

import base64
import io
import json
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure


def fill_page(template: str, data: dict[str, Any]) -> str:
    """A page of this package, ``{{DATA}}`` in it replaced by a JavaScript object.

    Any ``<`` is escaped: ``</script>`` or ``<!--<script>`` in a text would end the script that holds the data.
    """
    page = files('mmbeitv2.visualization').joinpath(template).read_text(encoding='utf-8')
    return page.replace('{{DATA}}', json.dumps(data).replace('<', '\\u003c'))


def picture_address(picture: Figure | np.ndarray, dpi: int = 100) -> str:
    """A figure, or an image (H, W, 3) uint8 RGB, as the address of itself."""
    if isinstance(picture, Figure):
        buffer = io.BytesIO()
        picture.savefig(buffer, dpi=dpi, format='png')
        return address('png', buffer.getvalue())
    return address('png', cv2.imencode('.png', picture[..., ::-1])[1].tobytes())


def address(kind: str, content: bytes) -> str:
    """The content of a picture file as the address of itself."""
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'
