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
from mmbeitv2.visualization.pages import Section, image, render_page
from mmbeitv2.visualization.pictures import (
    codes_by_use,
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
# Patches of each code in index.html, and the side of each in pixels.
_PER_CODE, _TILE = 10, 56


def save_codebook_pictures(
    tokenizer: VisualTokenizer,
    paths: Sequence[str | Path],
    out: Path,
    title: str,
    wanted: Sequence[int] | None = None,
    most_used: int | None = None,
    context: int = 2,
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

    Returns:
        Number of codes that occur in the images.

    Raises:
        InputError: if no patch has a wanted code.
    """
    prepared = torch.stack([tokenizer.prepare(path) for path in tqdm(paths, unit='image', desc='reading')])
    batches = tqdm(prepared.split(64), unit='batch', desc='tokenizing')
    codes = torch.cat([tokenizer.tokenize(batch) for batch in batches]).numpy()
    images = tokenizer.pictures(prepared).permute(0, 2, 3, 1).numpy()
    chosen = choose_codes(codes, wanted, most_used)
    write_picture(draw_codebook(images, codes, chosen, context=context), out / 'codebook.png', dpi=150)
    write_picture(draw_positions(codes, chosen), out / 'positions.png', dpi=120)
    write_picture(draw_usage(codes, tokenizer.num_codes), out / 'usage.png', dpi=120)
    AtomicBackend().put_text(codebook_page(images, codes, tokenizer.num_codes, title, context), out / 'index.html')
    return len(np.unique(codes))


def choose_codes(codes: np.ndarray, wanted: Sequence[int] | None, most_used: int | None) -> np.ndarray:
    """The codes to draw: those asked for, the most used ones, or some from the most to the least used.

    Raises:
        InputError: if no patch has a wanted code.
    """
    used = codes_by_use(codes)
    if wanted is not None:
        missing = sorted(set(wanted) - set(used.tolist()))
        if missing:
            raise InputError(
                f'no patch of these images has the code(s) {", ".join(map(str, missing))}. Choose other codes, or '
                'use more images.'
            )
        return np.array(wanted)
    if most_used is not None:
        return used[:most_used]
    return spread_codes(codes, 16)


def codebook_page(images: np.ndarray, codes: np.ndarray, num_codes: int, title: str, context: int = 1) -> str:
    """HTML that shows every code that occurs, the most used one first: how often, where in the image, and in which
    patches, framed in their surroundings.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        codes: (n, h, w) int.
        num_codes: size of the codebook.
        title: headline.
        context: patches of surroundings on each side.
    """
    side = images.shape[1] // codes.shape[1]
    rows = []
    for code in codes_by_use(codes):
        places = (codes == code).sum(axis=0)
        windows = cut_windows(images, places_of(codes, code, _PER_CODE), side, context)
        strip = np.hstack([_map(places), *(_frame(window, side, context) for window in windows)])
        webp = cv2.imencode('.webp', strip[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 75])[1].tobytes()
        count = places.sum()
        rows.append((code, count, f'{100 * count / codes.size:.3f} %', image(webp, 'webp')))
    text = f'{len(rows)} of {num_codes} codes occur in {codes.size} patches of {len(images)} images.'
    header = ('code', 'patches', 'share', 'where in the image (dark: often), and some of the patches (framed)')
    return render_page(title, text, [Section('Codes, the most used one first', header, rows)])


def _map(places: np.ndarray) -> np.ndarray:
    """How often a code occurs at each place (h, w) of the grid, as a tile: dark blue for often, white for never."""
    levels = (places / places.max())[..., None]
    colors = (255 * (1 - levels) + np.array([30, 70, 130]) * levels).astype(np.uint8)
    return cv2.resize(colors, (_TILE, _TILE), interpolation=cv2.INTER_NEAREST)


def _frame(window: np.ndarray, side: int, context: int) -> np.ndarray:
    """A patch, framed, in its surroundings, as a tile."""
    picture = cv2.resize(window, (_TILE - 2, _TILE - 2), interpolation=cv2.INTER_AREA)
    scale = (_TILE - 2) / len(window)
    first, last = round(context * side * scale), round((context + 1) * side * scale) - 1
    cv2.rectangle(picture, (first, first), (last, last), (255, 0, 0), 1)
    return np.pad(picture, ((1, 1), (1, 1), (0, 0)), constant_values=255)
