"""Predicts images with a classifier or a segmentor, and writes the results into a folder.

    python tools/predict.py CONFIG CHECKPOINT INPUT... --out DIR

An input is an image, a folder of any depth, a pattern, or a text file (.txt) that lists images. A classifier gives
DIR/predictions.csv; a segmentor gives a label map of each image in DIR/labels. The same command continues after an
interruption and leaves out what is done. Images that cannot be read are listed at the end, with exit code 1.
"""

from __future__ import annotations

import sys

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import add_launcher, make_parser, positive


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, 'config', 'checkpoint', '--num-workers', '--device', '--cfg-options')
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='image, folder, pattern, or .txt file of paths')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder: new, empty, or of an earlier prediction')
    parser.add_argument('--batch-size', type=positive, default=1, help='images, or crops of one, at once (default: 1)')
    parser.add_argument(
        '--format', dest='table_format', choices=['csv', 'parquet'], default='csv', help='of the classes (default: csv)'
    )
    parser.add_argument('--topk', type=positive, default=1, help='classes per image (default: 1)')
    parser.add_argument('--overlay', action='store_true', help='also write images in the colors of their classes')
    parser.add_argument('--confidence', action='store_true', help='also write the probability of the predicted class')
    tiled = 'segment images at their own resolution, by tiles; TIFFs of any size with bounded memory'
    parser.add_argument('--tiled', action='store_true', help=tiled)
    memory = 'with --tiled, megabytes for the logits of an image (default: 1000)'
    parser.add_argument('--memory', type=positive, default=1000, metavar='MB', help=memory)
    add_launcher(parser)
    options = vars(parser.parse_args(argv))
    launcher = options.pop('launcher')
    if options.pop('only_parse'):
        return
    with one_sentence_errors('predict.py'):
        from mmbeitv2_tools.launch import join_processes

        from mmbeitv2.errors import InputError
        from mmbeitv2.inference.predicting import predict

        rank = 0
        if launcher != 'none':
            rank, options['device'] = join_processes(options['device'])
        unreadable = predict(**options)
        if rank == 0 and unreadable:
            sys.stdout.write('\n'.join(unreadable) + '\n')
            raise InputError(f'{len(unreadable)} images could not be read; they are named above. All others are done.')


if __name__ == '__main__':
    main()
