"""Writes the codes of all images of a folder, of any depth, into one file.

    python tools/tokenize_images.py DIR --out codes.npz

The file holds ``paths`` (n,), relative to DIR, and ``codes`` (n, h, w), unsigned; ``num_codes``; and what the codes
were made from: ``made_by``, and of each image ``size`` and ``mtime``. After an interruption, the same command
continues; run again later, it tokenizes the images that are new or have changed. Codes of another folder or of another
tokenizer are never mixed in. Images that cannot be read are listed at the end, with exit code 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive

from mmbeitv2 import CONFIGS

CONFIG = Path(CONFIGS) / 'tokenizer' / 'vqkd_vit-b_3x768x12-clip_100e.py'
CHECKPOINT = 'vqkd-base_3x768x12-clip_release'


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, 'images', '--fit', '--num-workers', '--device', '--cfg-options')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.npz', help='the file to write')
    parser.add_argument('--config', default=str(CONFIG), help=f'config of the tokenizer (default: {CONFIG.name})')
    parser.add_argument('--checkpoint', default=CHECKPOINT, help='weights of the tokenizer (default: %(default)s)')
    parser.add_argument('--batch-size', type=positive, default=64, help='batch size (default: %(default)s)')
    args = parser.parse_args(argv)
    with one_sentence_errors('tokenize_images.py'):
        tokenize(args)


def tokenize(args: argparse.Namespace) -> None:
    """Writes or completes the file of codes."""
    from mmbeitv2.datasets import image_files
    from mmbeitv2.errors import InputError
    from mmbeitv2.fileio.outputs import require_writable
    from mmbeitv2.inference.channels import channels_of, image_extensions
    from mmbeitv2.inference.config import read_config
    from mmbeitv2.inference.tokenizing import Codes, made_by, tokenize_files
    from mmbeitv2.inference.visual_tokenizer import VisualTokenizer

    if args.out.suffix != '.npz':
        raise InputError(f'--out {str(args.out)!r} must end in .npz')
    require_writable(args.out)
    cfg = read_config(args.config, args.cfg_options)
    files = image_files(args.images, image_extensions(channels_of(cfg)))
    tokenizer = VisualTokenizer(cfg, args.checkpoint, args.device, args.fit)
    height, width = tokenizer.grid_size
    codes = Codes(args.out, made_by(cfg, tokenizer, args.images), files, (height, width), tokenizer.num_codes)
    unreadable = tokenize_files(files, tokenizer, codes, args.batch_size, args.num_workers)
    sys.stdout.write(f'{codes.done.sum()} images, {height}x{width} codes each: {args.out}\n')
    if unreadable:
        sys.stdout.write('\n'.join(unreadable) + '\n')
        raise InputError(f'{len(unreadable)} images could not be read; they are named above. All others are done.')


if __name__ == '__main__':
    main()
