"""Reports how good the codes of a tokenizer are on a folder of images.

    python tools/judge_tokenizer.py CONFIG CHECKPOINT DIR [--classes | --labels DIR] [--out PAGE.html] [--json F.json]

Reports the use of the codebook; how often neighboring patches share codes; how much the codes tell about the classes or
segments of a labeled folder; how many codes stay the same in the mirror image, in a shifted crop and after color
jitter. Each share is printed beside its chance level. --versus adds another tokenizer to compare with.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, natural, positive


def _label(text: str) -> int:
    number = natural(text)
    if number > 255:
        raise argparse.ArgumentTypeError(f'{text!r} is not a label. Use a whole number from 0 to 255.')
    return number


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, 'config', 'checkpoint', 'images', '--fit', '--device', '--json', '--cfg-options')
    parser.add_argument(
        '--versus',
        nargs=2,
        action='append',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT'),
        help='another tokenizer, on the same images; may be repeated',
    )
    labeled = parser.add_mutually_exclusive_group()
    labeled.add_argument('--classes', action='store_true', help='the folders directly below DIR are classes')
    labeled.add_argument('--labels', type=Path, metavar='DIR', help='folder of label images: a/1.png for a/1.jpg')
    ignored = 'labels that mean "none", in addition to 255 (for ADE20K: 0)'
    parser.add_argument('--ignored-labels', type=_label, nargs='*', default=[], metavar='LABEL', help=ignored)
    parser.add_argument('--num-images', type=positive, default=500, help='images to tokenize (default: %(default)s)')
    parser.add_argument('--out', type=Path, metavar='PAGE.html', help='page to write, with pictures')
    args = parser.parse_args(argv)
    if args.ignored_labels and args.labels is None:
        parser.error('--ignored-labels has no effect without label images. Add --labels DIR.')
    if args.out is not None and args.out.suffix != '.html':
        parser.error(f'--out {str(args.out)!r} must end in .html')
    with one_sentence_errors('judge_tokenizer.py'):
        from mmbeitv2.apis import VisualTokenizer, read_config
        from mmbeitv2.evaluation.patch_labels import segment_labels
        from mmbeitv2.evaluation.probing import classes_from_folders
        from mmbeitv2.fileio import AtomicBackend
        from mmbeitv2.fileio.outputs import require_json, require_writable, write_json
        from mmbeitv2.inference.channels import channels_of, image_extensions
        from mmbeitv2.visualization.pictures import choose_files
        from mmbeitv2.visualization.tokenizer_report import as_json, judge, page, table

        require_json(args.json)
        if args.out is not None:
            require_writable(args.out)
        kinds = image_extensions(channels_of(read_config(args.config, args.cfg_options)))
        files = choose_files(args.images, args.num_images, extensions=kinds)
        pairs = [(args.config, args.checkpoint), *args.versus]
        judged = []
        for i, (config, checkpoint) in enumerate(pairs):
            tokenizer = VisualTokenizer(config, checkpoint, args.device, args.fit, args.cfg_options if i == 0 else None)
            labels = None
            if args.classes:
                labels = classes_from_folders(args.images, files)[1][:, None].repeat(math.prod(tokenizer.grid_size), 1)
            elif args.labels is not None:
                ignored = args.ignored_labels
                labels = segment_labels(files, args.labels, tokenizer.grid_size, args.fit, ignored, tokenizer.read)
            name = f'{config}, {checkpoint}'  # work dirs name them all alike
            judged.append(judge(tokenizer, list(files.values()), labels, name))
        sys.stdout.write(table(judged, len(files)))
        tokenizers = [
            {'config': config, 'checkpoint': checkpoint, **numbers}
            for (config, checkpoint), numbers in zip(pairs, as_json(judged), strict=True)
        ]
        report = {'images': str(args.images), 'num_images': len(files), 'tokenizers': tokenizers}
        write_json(args.json, report)
        if args.out is not None:
            title = f'{len(files)} images of {args.images.name}'
            AtomicBackend().put_text(page(judged, title), args.out)
            sys.stdout.write(f'{args.out}\n')


if __name__ == '__main__':
    main()
