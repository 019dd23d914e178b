"""Shows what a pretrained model predicts: image, mask, true codes, predicted codes.

    python tools/visualize_masks.py CONFIG CHECKPOINT DIR --out masks.png

CONFIG and CHECKPOINT are those of the pretraining; its tokenizer comes from the config, or from --tokenizer. With a
pixel decoder there are two more columns: the picture that it makes of the true codes, and of the true codes with the
predicted ones at the masked patches.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmbeitv2.apis.config import add_cfg_options, read_config
from mmbeitv2.errors import one_sentence_errors
from mmbeitv2.visualization.masks import masks_picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of the pretraining')
    parser.add_argument('checkpoint', help='weights of the pretraining')
    parser.add_argument('images', type=Path, metavar='DIR', help='folder of images, of any depth')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.png', help='picture to write')
    parser.add_argument('--tokenizer', metavar='CHECKPOINT', help="weights of the tokenizer (default: the config's)")
    parser.add_argument(
        '--pixel-decoder', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='for the pictures from codes'
    )
    parser.add_argument('--num-images', type=int, default=6, help='taken at random (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of images and masks (default: %(default)s)')
    parser.add_argument('--fit', choices=['crop', 'stretch'], default='crop', help='how an image becomes a square')
    add_cfg_options(parser)
    args = parser.parse_args()
    with one_sentence_errors('visualize_masks.py'):
        cfg = read_config(args.config, args.cfg_options)
        decoder = None if args.pixel_decoder is None else (read_config(args.pixel_decoder[0]), args.pixel_decoder[1])
        figure = masks_picture(
            cfg, args.checkpoint, args.images, args.tokenizer, decoder, args.num_images, args.seed, args.fit
        )
        args.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(args.out, dpi=120)
        sys.stdout.write(f'{args.out}\n')


if __name__ == '__main__':
    main()
