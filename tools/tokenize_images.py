"""Writes the codes of all images of a folder, of any depth, into one file.

    python tools/tokenize_images.py DIR --out codes.npz

The file holds ``paths`` (n,), relative to DIR, and ``codes`` (n, h, w), unsigned; ``num_codes``; and what the codes
were made from: ``made_by``, ``root``, and of each image ``size``, ``mtime`` and ``digest``. After an interruption, the
same command continues; run again later, it tokenizes the images that are new or have changed. Codes of another folder
or of another tokenizer are never mixed in. Images that cannot be read are listed at the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive

from mmbeitv2 import CONFIGS

CONFIG = Path(CONFIGS) / 'tokenizer' / 'vqkd_vit-b_3x768x12-clip_100e.py'
CHECKPOINT = 'vqkd-base_3x768x12-clip_release'


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, 'images', '--fit', '--num-workers', '--device', '--cfg-options')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.npz', help='the file to write')
    parser.add_argument('--config', default=str(CONFIG), help=f'config of the tokenizer (default: {CONFIG.name})')
    parser.add_argument('--checkpoint', default=CHECKPOINT, help='weights of the tokenizer (default: %(default)s)')
    parser.add_argument('--batch-size', type=positive, default=64, help='batch size (default: %(default)s)')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_sentence_errors('tokenize_images.py'):
        from mmbeitv2.inference.tokenizing import tokenize_images

        tokenize_images(args)


if __name__ == '__main__':
    main()
