"""Draws what a pretrained model predicts: image, mask, true codes, predicted codes.

    python tools/visualize_masks.py CONFIG CHECKPOINT DIR --out masks.png

CONFIG and CHECKPOINT are those of the pretraining; its tokenizer comes from the config, or from --tokenizer. With a
pixel decoder there are two more columns: the picture that it makes of the true codes, and of the true codes with the
predicted ones at the masked patches.
"""

from __future__ import annotations

import sys

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser


def main(argv: list[str] | None = None) -> None:
    shared = ('--num-images', '--seed', '--fit', '--out', '--cfg-options')
    parser = make_parser(__doc__, 'config', 'checkpoint', 'images', *shared)
    parser.add_argument('--tokenizer', metavar='CHECKPOINT', help="weights of the tokenizer (default: the config's)")
    drawn = 'also draw pictures from codes'
    parser.add_argument('--pixel-decoder', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help=drawn)
    args = parser.parse_args(argv)
    with one_sentence_errors('visualize_masks.py'):
        from mmbeitv2.apis import read_config
        from mmbeitv2.fileio.outputs import require_picture
        from mmbeitv2.inference.channels import channels_of, image_extensions
        from mmbeitv2.visualization.masks import masks_picture
        from mmbeitv2.visualization.pictures import choose_files, write_picture

        require_picture(args.out, [args.images])
        cfg = read_config(args.config, args.cfg_options)
        files = choose_files(args.images, args.num_images, args.seed, image_extensions(channels_of(cfg)))
        decoder = None if args.pixel_decoder is None else (read_config(args.pixel_decoder[0]), args.pixel_decoder[1])
        settings = dict(tokenizer=args.tokenizer, pixel_decoder=decoder, seed=args.seed, fit=args.fit)
        figure = masks_picture(cfg, args.checkpoint, list(files.values()), **settings)
        write_picture(figure, args.out, dpi=120)
        sys.stdout.write(f'{args.out}: {len(files)} images\n')


if __name__ == '__main__':
    main()
