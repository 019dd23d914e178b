"""Draws the three principal components of the patch features of backbones as red, green and blue.

    python tools/visualize_patch_pca.py DIR --configs CONFIG --checkpoints A B --layers 3 7 11 --out pca.png

Each image has a row, each checkpoint and layer a column. The components are computed over all images of a column, so
that equal colors in one column mean equal features; colors of different columns are not related. CONFIG is of a
pretraining, classification, segmentation or tokenizer, one for all checkpoints or one for each.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, '--num-images', '--seed', '--fit', '--out', '--device', '--cfg-options')
    parser.add_argument('images', type=Path, nargs='+', metavar='IMAGE_OR_DIR', help='image files, or folders of them')
    one_or_each = 'one config for all checkpoints, or one for each'
    parser.add_argument('--configs', nargs='+', required=True, metavar='CONFIG', help=one_or_each)
    parser.add_argument('--checkpoints', nargs='+', required=True, metavar='FILE', help='weights, ours or released')
    parser.add_argument('--names', nargs='+', metavar='NAME', help='names of the checkpoints (default: their paths)')
    layers = 'blocks, counted from 0; -1 is the last (default: -1)'
    parser.add_argument('--layers', type=int, nargs='+', default=[-1], help=layers)
    size = "side of the images (default: the config's img_size)"
    parser.add_argument('--size', type=positive, metavar='PIXELS', help=size)
    args = parser.parse_args(argv)
    count = len(args.checkpoints)
    if len(args.configs) not in (1, count):
        parser.error(f'{len(args.configs)} configs do not match {count} checkpoints. Pass one, or one for each.')
    args.names = args.names or args.checkpoints
    if len(args.names) != count or len(set(args.names)) < count:
        parser.error(f'{count} checkpoints need as many different names. Pass one for each with --names NAME NAME ...')
    with one_sentence_errors('visualize_patch_pca.py'):
        from mmbeitv2.apis import read_config
        from mmbeitv2.fileio.outputs import require_picture
        from mmbeitv2.inference.channels import channels_of, image_extensions
        from mmbeitv2.visualization.patch_pca import patch_pca_picture
        from mmbeitv2.visualization.pictures import choose_files, write_picture

        require_picture(args.out, args.images)
        configs = [read_config(config, args.cfg_options) for config in args.configs]
        kinds = image_extensions(channels_of(configs[0]))
        paths: list[str | Path] = []
        for given in args.images:
            files = choose_files(given, args.num_images, args.seed, kinds) if given.is_dir() else {'': given}
            paths += files.values()
        configs *= len(args.checkpoints) // len(configs)
        models = list(zip(args.names, configs, args.checkpoints, strict=True))
        figure = patch_pca_picture(models, paths, args.layers, args.size, args.fit, args.device)
        write_picture(figure, args.out, dpi=150)
        sys.stdout.write(f'{args.out}: {len(paths)} images\n')


if __name__ == '__main__':
    main()
