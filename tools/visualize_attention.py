"""Draws the self-attention of the CLS token and of a chosen patch, for all heads.

python tools/visualize_attention.py CONFIG CHECKPOINT IMAGE --out attention.png --patch 6 4
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, natural


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, 'config', 'checkpoint', '--fit', '--out', '--cfg-options')
    parser.add_argument('image', type=Path, help='image file')
    place = 'counted from 0 (default: the middle)'
    parser.add_argument('--patch', type=natural, nargs=2, metavar=('ROW', 'COLUMN'), help=place)
    parser.add_argument('--layer', type=int, default=-1, help='block, counted from 0; -1 is the last (default: -1)')
    args = parser.parse_args(argv)
    with one_sentence_errors('visualize_attention.py'):
        from mmbeitv2.apis import read_config
        from mmbeitv2.fileio.outputs import require_picture
        from mmbeitv2.visualization.attention import attention_picture
        from mmbeitv2.visualization.pictures import write_picture

        require_picture(args.out, [args.image])
        cfg = read_config(args.config, args.cfg_options)
        patch = None if args.patch is None else (args.patch[0], args.patch[1])
        figure = attention_picture(cfg, args.checkpoint, args.image, patch, args.layer, args.fit)
        write_picture(figure, args.out, dpi=150)
        sys.stdout.write(f'{args.out}\n')


if __name__ == '__main__':
    main()
