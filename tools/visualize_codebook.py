"""Shows what the codes of a tokenizer mean: the patches that carry them, how often and where they occur.

    python tools/visualize_codebook.py CONFIG CHECKPOINT DIR --out OUT

OUT gets codebook.png, usage.png, positions.png, and index.html, one page without other files to browse all codes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from mmengine.config import DictAction

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.datasets import find_images
from mmbeitv2.errors import InputError, one_sentence_errors
from mmbeitv2.visualization.codebook_page import codebook_page
from mmbeitv2.visualization.pictures import draw_codebook, draw_positions, draw_usage, spread_codes


def choose(codes: np.ndarray, wanted: list[int] | None, most_used: int | None) -> np.ndarray:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of the tokenizer, or of a pretraining')
    parser.add_argument('checkpoint', help='weights of the tokenizer')
    parser.add_argument('images', type=Path, metavar='DIR', help='folder of images, of any depth')
    parser.add_argument('--out', type=Path, required=True, help='folder to write')
    parser.add_argument('--codes', type=int, nargs='+', metavar='CODE', help='codes to draw')
    parser.add_argument('--most-used', type=int, metavar='N', help='draw the N most used codes')
    parser.add_argument('--num-images', type=int, default=2000, help='taken at random (default: %(default)s)')
    parser.add_argument('--context', type=int, default=2, help='patches around each patch (default: %(default)s)')
    parser.add_argument('--fit', choices=['crop', 'stretch'], default='crop', help='how an image becomes a square')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='override: KEY=VALUE ...')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ... (default: the GPU if there is one)')
    args = parser.parse_args()
    with one_sentence_errors('visualize_codebook.py'):
        tokenizer = VisualTokenizer(args.config, args.checkpoint, args.device, args.fit, args.cfg_options)
        paths = np.random.default_rng(0).permutation(find_images(args.images))[: args.num_images]
        prepared = torch.stack([tokenizer.prepare(args.images / path) for path in paths])
        codes = torch.cat([tokenizer.tokenize(batch) for batch in prepared.split(64)]).numpy()
        images = prepared.permute(0, 2, 3, 1).numpy()
        chosen = choose(codes, args.codes, args.most_used)
        args.out.mkdir(parents=True, exist_ok=True)
        draw_codebook(images, codes, chosen, context=args.context).savefig(args.out / 'codebook.png', dpi=150)
        draw_positions(codes, chosen).savefig(args.out / 'positions.png', dpi=120)
        draw_usage(codes, tokenizer.num_codes).savefig(args.out / 'usage.png', dpi=120)
        title = f'{Path(args.checkpoint).name} on {args.images.name}'
        page = codebook_page(images, codes, tokenizer.num_codes, title, context=args.context)
        (args.out / 'index.html').write_text(page, encoding='utf-8')
        sys.stdout.write(
            f'{len(images)} images, {len(np.unique(codes))} of {tokenizer.num_codes} codes: {args.out}/index.html, '
            'codebook.png, usage.png, positions.png\n'
        )


if __name__ == '__main__':
    main()
