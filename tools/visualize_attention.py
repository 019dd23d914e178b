"""Shows where a backbone looks: self-attention of the CLS token and of a chosen patch, all heads.

python tools/visualize_attention.py CONFIG CHECKPOINT IMAGE --out attention.png --patch 6 4
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmbeitv2.apis.config import add_cfg_options, read_config
from mmbeitv2.errors import one_sentence_errors
from mmbeitv2.visualization.attention import attention_picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of a pretraining, classification or segmentation')
    parser.add_argument('checkpoint', help='weights, ours or released')
    parser.add_argument('image', type=Path, help='image file')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.png', help='picture to write')
    parser.add_argument('--patch', type=int, nargs=2, metavar=('ROW', 'COLUMN'), help='from 0 (default: the middle)')
    parser.add_argument('--layer', type=int, default=-1, help='block, from 0, or from the last (default: %(default)s)')
    parser.add_argument('--fit', choices=['crop', 'stretch'], default='crop', help='how the image becomes a square')
    add_cfg_options(parser)
    args = parser.parse_args()
    with one_sentence_errors('visualize_attention.py'):
        cfg = read_config(args.config, args.cfg_options)
        patch = None if args.patch is None else (args.patch[0], args.patch[1])
        figure = attention_picture(cfg, args.checkpoint, args.image, patch, args.layer, args.fit)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(args.out, dpi=150)
        sys.stdout.write(f'{args.out}\n')


if __name__ == '__main__':
    main()
