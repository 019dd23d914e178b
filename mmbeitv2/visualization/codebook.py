"""Pictures of a codebook, and one page to browse it: the patches that have a code, how often and where it occurs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.inference.visual_tokenizer import VisualTokenizer
from mmbeitv2.visualization.pages import image, render_page
from mmbeitv2.visualization.pictures import (
    code_strip,
    codes_by_use,
    draw_codebook,
    draw_usage,
    spread_codes,
    write_picture,
)

# Patches of surroundings on each side of a patch.
_CONTEXT = 2


def save_codebook_pictures(tokenizer: VisualTokenizer, paths: Sequence[str | Path], out: Path, title: str) -> int:
    """Writes codebook.png, usage.png and index.html, whose headline is ``title``, into the folder ``out``.

    Args:
        tokenizer: the tokenizer.
        paths: image files.
        out: folder to write into.
        title: headline of the page.

    Returns:
        Number of codes that occur in the images.
    """
    prepared = torch.stack([tokenizer.prepare(path) for path in tqdm(paths, unit='image', desc='reading')])
    batches = tqdm(prepared.split(64), unit='batch', desc='tokenizing')
    codes = torch.cat([tokenizer.tokenize(batch) for batch in batches]).numpy()
    images = tokenizer.pictures(prepared).permute(0, 2, 3, 1).numpy()
    write_picture(draw_codebook(images, codes, spread_codes(codes, 16), context=_CONTEXT), out / 'codebook.png', 150)
    write_picture(draw_usage(codes, tokenizer.num_codes), out / 'usage.png', dpi=120)
    AtomicBackend().put_text(codebook_page(images, codes, tokenizer.num_codes, title), out / 'index.html')
    return len(np.unique(codes))


def codebook_page(images: np.ndarray, codes: np.ndarray, num_codes: int, title: str) -> str:
    """HTML that shows every code that occurs, the most used one first: how often, where in the image, and in which
    patches, framed in their surroundings.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        codes: (n, h, w) int.
        num_codes: size of the codebook.
        title: headline.
    """
    rows: list[tuple] = [
        ('code', 'patches', 'share', 'where in the image (dark: often), and some of the patches (framed)')
    ]
    for code in codes_by_use(codes):
        places = (codes == code).sum(axis=0)
        strip = np.hstack([_map(places), code_strip(images, codes, code, 10, _CONTEXT)])
        webp = cv2.imencode('.webp', strip[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 75])[1].tobytes()
        count = places.sum()
        rows.append((code, count, f'{100 * count / codes.size:.3f} %', image(webp, 'webp')))
    text = f'{len(rows) - 1} of {num_codes} codes occur in {codes.size} patches of {len(images)} images.'
    return render_page(title, text, {'Codes, the most used one first': rows})


def _map(places: np.ndarray) -> np.ndarray:
    """How often a code occurs at each place (h, w) of the grid: dark blue for often, white for never."""
    levels = (places / places.max())[..., None]
    colors = (255 * (1 - levels) + np.array([30, 70, 130]) * levels).astype(np.uint8)
    return cv2.resize(colors, (80, 80), interpolation=cv2.INTER_NEAREST)
