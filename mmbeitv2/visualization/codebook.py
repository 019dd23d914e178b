"""What the codes of a tokenizer mean: the patches that carry them, how often and where they occur."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.datasets import find_images
from mmbeitv2.errors import InputError
from mmbeitv2.visualization.codebook_page import codebook_page
from mmbeitv2.visualization.pictures import draw_codebook, draw_positions, draw_usage, spread_codes


def save_codebook_pictures(
    tokenizer: VisualTokenizer,
    root: Path,
    out: Path,
    title: str,
    wanted: Sequence[int] | None = None,
    most_used: int | None = None,
    num_images: int = 2000,
    context: int = 2,
) -> tuple[int, int]:
    """Writes codebook.png, usage.png, positions.png and index.html.

    Args:
        tokenizer: the tokenizer.
        root: folder of images, of any depth.
        out: folder to write.
        title: headline of the page.
        wanted: codes to draw.
        most_used: draw so many of the most used codes; neither: some from the most to the least used one.
        num_images: taken at random.
        context: patches of surroundings on each side of a patch.

    Returns:
        Numbers of images, and of codes that occur in them.

    Raises:
        InputError: if no patch has a wanted code.
    """
    paths = np.random.default_rng(0).permutation(find_images(root))[:num_images]
    prepared = torch.stack([tokenizer.prepare(root / path) for path in paths])
    codes = torch.cat([tokenizer.tokenize(batch) for batch in prepared.split(64)]).numpy()
    images = prepared.permute(0, 2, 3, 1).numpy()
    chosen = choose_codes(codes, wanted, most_used)
    out.mkdir(parents=True, exist_ok=True)
    draw_codebook(images, codes, chosen, context=context).savefig(out / 'codebook.png', dpi=150)
    draw_positions(codes, chosen).savefig(out / 'positions.png', dpi=120)
    draw_usage(codes, tokenizer.num_codes).savefig(out / 'usage.png', dpi=120)
    page = codebook_page(images, codes, tokenizer.num_codes, title, context=context)
    (out / 'index.html').write_text(page, encoding='utf-8')
    return len(images), len(np.unique(codes))


def choose_codes(codes: np.ndarray, wanted: Sequence[int] | None, most_used: int | None) -> np.ndarray:
    """The codes to draw: those asked for, the most used ones, or some from the most to the least used."""
    if wanted is not None:
        missing = sorted(set(wanted) - set(np.unique(codes).tolist()))
        if missing:
            raise InputError(
                f'no patch of these images has the code(s) {", ".join(map(str, missing))}: choose others, or give '
                'more images'
            )
        return np.array(wanted)
    if most_used is not None:
        return np.bincount(codes.ravel()).argsort(kind='stable')[::-1][:most_used]
    return spread_codes(codes, 16)
