"""One self-contained HTML page to browse a codebook."""

from __future__ import annotations

import base64
import json
from importlib.resources import files

import cv2
import numpy as np

from mmbeitv2.errors import InputError
from mmbeitv2.visualization.pictures import cut_windows, places_of


def codebook_page(
    images: np.ndarray,
    codes: np.ndarray,
    num_codes: int,
    title: str,
    per_code: int = 10,
    context: int = 1,
    tile: int = 56,
) -> str:
    """A page with every code that occurs: its patches framed in their surroundings, its share, where it occurs.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        codes: (n, h, w) int.
        num_codes: size of the codebook.
        title: headline.
        per_code: patches shown of each code.
        context: patches of surroundings on each side.
        tile: side of each picture in pixels.

    Returns:
        HTML that needs no other file and no network.
    """
    side = images.shape[1] // codes.shape[1]
    rows = [
        {
            'code': int(code),
            'count': int((codes == code).sum()),
            'strip': _strip(images, places_of(codes, code, per_code), side, context, tile),
            'map': _levels((codes == code).sum(axis=0)),
        }
        for code in np.unique(codes)
    ]
    data = {
        'title': title,
        'numCodes': num_codes,
        'numImages': len(images),
        'grid': codes.shape[1:],
        'tile': tile,
        'rows': rows,
    }
    template = files('mmbeitv2.visualization').joinpath('codebook_page.html').read_text(encoding='utf-8')
    # "</" would end the script that holds the data.
    return template.replace('{{DATA}}', json.dumps(data).replace('</', '<\\/'))


def _strip(images: np.ndarray, places: np.ndarray, side: int, context: int, tile: int) -> str:
    """Framed patches side by side, as base64 WebP."""
    tiles = [_frame(window, side, context, tile) for window in cut_windows(images, places, side, context)]
    is_encoded, webp = cv2.imencode('.webp', np.hstack(tiles)[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 75])
    if not is_encoded:
        raise InputError(f'patches of {tile} pixels cannot be encoded. Choose another size.')
    return base64.b64encode(webp.tobytes()).decode()


def _frame(window: np.ndarray, side: int, context: int, tile: int) -> np.ndarray:
    picture = cv2.resize(window, (tile - 2, tile - 2), interpolation=cv2.INTER_AREA)
    scale = (tile - 2) / len(window)
    first, last = round(context * side * scale), round((context + 1) * side * scale) - 1
    cv2.rectangle(picture, (first, first), (last, last), (255, 0, 0), 1)
    return np.pad(picture, ((1, 1), (1, 1), (0, 0)), constant_values=255)


def _levels(counts: np.ndarray) -> list[int]:
    """Counts as percent of the largest one."""
    return (100 * counts / counts.max()).round().astype(int).ravel().tolist()
