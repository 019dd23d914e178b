"""Pictures of a codebook, and one page to browse it: the patches that have a code, how often and where it occurs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from mmbeitv2.errors import InputError
from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.inference.visual_tokenizer import VisualTokenizer
from mmbeitv2.visualization.pages import address, fill_page
from mmbeitv2.visualization.pictures import (
    cut_windows,
    draw_codebook,
    draw_positions,
    draw_usage,
    places_of,
    spread_codes,
    write_picture,
)

# Codes that codebook.png and positions.png show at most, for which matplotlib takes seconds; index.html shows all.
MAX_DRAWN = 64
# What index.html may show of a code: patches, and the side of each in pixels. WebP ends at 16383 pixels.
MAX_PATCHES = 50
MIN_TILE, MAX_TILE = 8, 256


def require_drawable(wanted: Sequence[int] | None, most_used: int | None, per_code: int = 10, tile: int = 56) -> None:
    """Refuses to draw more than a picture or the page can hold, by an :class:`InputError` that names the limit."""
    count = max(len(wanted or []), most_used or 0)
    if count > MAX_DRAWN:
        raise InputError(
            f'{count} codes are too many for one picture. Choose {MAX_DRAWN} or fewer. index.html shows every code.'
        )
    if per_code > MAX_PATCHES or not MIN_TILE <= tile <= MAX_TILE:
        raise InputError(
            f'{per_code} patches of {tile} pixels do not suit the page. Choose {MAX_PATCHES} patches or fewer, of '
            f'{MIN_TILE} to {MAX_TILE} pixels.'
        )


def save_codebook_pictures(
    tokenizer: VisualTokenizer,
    paths: Sequence[str | Path],
    out: Path,
    title: str,
    wanted: Sequence[int] | None = None,
    most_used: int | None = None,
    context: int = 2,
    per_code: int = 10,
    tile: int = 56,
) -> int:
    """Writes codebook.png, usage.png, positions.png and index.html.

    Args:
        tokenizer: the tokenizer.
        paths: image files.
        out: folder to write into.
        title: headline of the page.
        wanted: codes to draw.
        most_used: draw this many of the most used codes. With neither, some from the most to the least used one are
            drawn.
        context: patches of surroundings on each side of a patch.
        per_code: patches of each code on the page.
        tile: side in pixels of each of them.

    Returns:
        Number of codes that occur in the images.

    Raises:
        InputError: if no patch has a wanted code, or too many codes are to be drawn.
    """
    require_drawable(wanted, most_used, per_code, tile)
    prepared = torch.stack([tokenizer.prepare(path) for path in tqdm(paths, unit='image', desc='reading')])
    batches = tqdm(prepared.split(64), unit='batch', desc='tokenizing')
    codes = torch.cat([tokenizer.tokenize(batch) for batch in batches]).numpy()
    images = tokenizer.pictures(prepared).permute(0, 2, 3, 1).numpy()
    chosen = choose_codes(codes, wanted, most_used)
    write_picture(draw_codebook(images, codes, chosen, context=context), out / 'codebook.png', dpi=150)
    write_picture(draw_positions(codes, chosen), out / 'positions.png', dpi=120)
    write_picture(draw_usage(codes, tokenizer.num_codes), out / 'usage.png', dpi=120)
    page = codebook_page(images, codes, tokenizer.num_codes, title, per_code, context, tile)
    AtomicBackend().put_text(page, out / 'index.html')
    return len(np.unique(codes))


def choose_codes(codes: np.ndarray, wanted: Sequence[int] | None, most_used: int | None) -> np.ndarray:
    """The codes to draw: those asked for, the most used ones, or some from the most to the least used.

    Raises:
        InputError: if no patch has a wanted code.
    """
    used, counts = np.unique(codes, return_counts=True)
    if wanted is not None:
        missing = sorted(set(wanted) - set(used.tolist()))
        if missing:
            raise InputError(
                f'no patch of these images has the code(s) {", ".join(map(str, missing))}. Choose other codes, or '
                'use more images.'
            )
        return np.array(wanted)
    if most_used is not None:
        return used[counts.argsort(kind='stable')[::-1]][:most_used]
    return spread_codes(codes, 16)


def codebook_page(
    images: np.ndarray,
    codes: np.ndarray,
    num_codes: int,
    title: str,
    per_code: int = 10,
    context: int = 1,
    tile: int = 56,
) -> str:
    """HTML that shows every code that occurs: its patches framed in their surroundings, its share, where it occurs.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        codes: (n, h, w) int.
        num_codes: size of the codebook.
        title: headline.
        per_code: patches shown of each code.
        context: patches of surroundings on each side.
        tile: side of each picture in pixels.
    """
    side = images.shape[1] // codes.shape[1]
    rows = []
    for code in np.unique(codes):
        counts = (codes == code).sum(axis=0)
        windows = cut_windows(images, places_of(codes, code, per_code), side, context)
        strip = np.hstack([_frame(window, side, context, tile) for window in windows])
        webp = cv2.imencode('.webp', strip[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 75])[1].tobytes()
        levels = (100 * counts / counts.max()).round().astype(int).ravel().tolist()  # percent of the largest
        rows.append({'code': int(code), 'count': int(counts.sum()), 'strip': address('webp', webp), 'map': levels})
    sizes = {'numCodes': num_codes, 'numImages': len(images), 'grid': codes.shape[1:], 'tile': tile}
    return fill_page('codebook_page.html', {'title': title, **sizes, 'rows': rows})


def _frame(window: np.ndarray, side: int, context: int, tile: int) -> np.ndarray:
    picture = cv2.resize(window, (tile - 2, tile - 2), interpolation=cv2.INTER_AREA)
    scale = (tile - 2) / len(window)
    first, last = round(context * side * scale), round((context + 1) * side * scale) - 1
    cv2.rectangle(picture, (first, first), (last, last), (255, 0, 0), 1)
    return np.pad(picture, ((1, 1), (1, 1), (0, 0)), constant_values=255)
