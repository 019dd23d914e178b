"""Draws the codebook of a tokenizer: the patches that have a code, how often and where each code occurs.

    python tools/visualize_codebook.py CONFIG CHECKPOINT DIR --out OUT

OUT gets codebook.png, usage.png, and index.html, one self-contained page to browse all codes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive

TOOL = 'visualize_codebook.py'


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, 'config', 'checkpoint', 'images', '--fit', '--device', '--cfg-options')
    parser.add_argument('--out', type=Path, required=True, help='folder to write: new, empty, or of an earlier run')
    parser.add_argument('--num-images', type=positive, default=2000, help='images to tokenize (default: %(default)s)')
    args = parser.parse_args(argv)
    with one_sentence_errors('visualize_codebook.py'):
        from mmbeitv2.apis import VisualTokenizer, read_config
        from mmbeitv2.fileio.folders import claim_folder, require_claimable
        from mmbeitv2.fileio.outputs import require_writable_folder
        from mmbeitv2.inference.channels import channels_of, image_extensions
        from mmbeitv2.visualization.codebook import save_codebook_pictures
        from mmbeitv2.visualization.pictures import choose_files

        require_writable_folder(args.out, '--out')
        require_claimable(args.out, TOOL)
        cfg = read_config(args.config, args.cfg_options)
        files = choose_files(args.images, args.num_images, extensions=image_extensions(channels_of(cfg)))
        tokenizer = VisualTokenizer(cfg, args.checkpoint, args.device, args.fit)
        claim_folder(args.out, TOOL)
        title = f'{Path(args.checkpoint).name} on {args.images.name}'
        num_used = save_codebook_pictures(tokenizer, list(files.values()), args.out, title)
        sys.stdout.write(f'{len(files)} images, {num_used} of {tokenizer.num_codes} codes: {args.out}/index.html\n')


if __name__ == '__main__':
    main()
