"""Shows what the codes of a tokenizer mean: the patches that carry them, how often and where they occur.

    python tools/visualize_codebook.py CONFIG CHECKPOINT DIR --out OUT

OUT gets codebook.png, usage.png, positions.png, and index.html, one page without other files to browse all codes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.apis.config import add_cfg_options
from mmbeitv2.errors import one_sentence_errors
from mmbeitv2.fileio.folders import claim_folder, require_claimable, require_own_place
from mmbeitv2.visualization.codebook import save_codebook_pictures

TOOL = 'visualize_codebook.py'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of the tokenizer, or of a pretraining')
    parser.add_argument('checkpoint', help='weights of the tokenizer')
    parser.add_argument('images', type=Path, metavar='DIR', help='folder of images, of any depth')
    parser.add_argument('--out', type=Path, required=True, help='folder to write: new, empty, or of an earlier run')
    parser.add_argument('--codes', type=int, nargs='+', metavar='CODE', help='codes to draw')
    parser.add_argument('--most-used', type=int, metavar='N', help='draw the N most used codes')
    parser.add_argument('--num-images', type=int, default=2000, help='taken at random (default: %(default)s)')
    parser.add_argument('--context', type=int, default=2, help='patches around each patch (default: %(default)s)')
    parser.add_argument('--fit', choices=['crop', 'stretch'], default='crop', help='how an image becomes a square')
    add_cfg_options(parser)
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ... (default: the GPU if there is one)')
    args = parser.parse_args()
    with one_sentence_errors('visualize_codebook.py'):
        require_own_place(args.out, keep=[args.images])
        require_claimable(args.out, TOOL)
        tokenizer = VisualTokenizer(args.config, args.checkpoint, args.device, args.fit, args.cfg_options)
        title = f'{Path(args.checkpoint).name} on {args.images.name}'
        claim_folder(args.out, TOOL)
        num_images, num_used = save_codebook_pictures(
            tokenizer, args.images, args.out, title, args.codes, args.most_used, args.num_images, args.context
        )
        sys.stdout.write(
            f'{num_images} images, {num_used} of {tokenizer.num_codes} codes: {args.out}/index.html, '
            'codebook.png, usage.png, positions.png\n'
        )


if __name__ == '__main__':
    main()
