"""Scores a backbone by segmentation without training it, with the labels of the nearest patches of a labeled bank.

    python tools/probe_patches.py CONFIG CHECKPOINT --bank IMAGES LABELS --query IMAGES LABELS --classes classes.txt

CONFIG and CHECKPOINT are those of a pretraining. IMAGES is a folder of images, LABELS one of label images (PNG, one
channel, one number for each class from 0 on, 255 for ignored pixels) of the same names; --bank to learn from, --query
to score. Prints mIoU, mAcc and aAcc in percent, as mmsegmentation counts them.
"""

from __future__ import annotations

from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, natural, positive
from mmbeitv2_tools.scores import report_scores


def main(argv: list[str] | None = None) -> None:
    shared = ('config', 'checkpoint', '--seed', '--num-workers', '--device', '--json', '--cfg-options')
    parser = make_parser(__doc__, *shared)
    for name, purpose in (('--bank', 'learn from'), ('--query', 'score')):
        what = f'images to {purpose}, and their label images'
        parser.add_argument(name, type=Path, nargs=2, required=True, metavar=('IMAGES', 'LABELS'), help=what)
    parser.add_argument('--classes', type=Path, required=True, metavar='FILE.txt', help='class names, one per line')
    parser.add_argument('--reduce-zero-label', action='store_true', help='label 0 is ignored, and classes count from 1')
    parser.add_argument('--layer', type=natural, help='block whose output is used, counted from 0 (default: the last)')
    parser.add_argument('--size', type=positive, help='side of the square that images are scaled to (default: config)')
    for name, default, what in (
        ('--num-neighbors', 30, 'number of neighbors that are averaged'),
        ('--max-per-class', 1000, 'largest number of patches per class in the bank'),
    ):
        parser.add_argument(name, type=positive, default=default, help=f'{what} (default: %(default)s)')
    args = parser.parse_args(argv)
    with one_sentence_errors('probe_patches.py'):
        from mmbeitv2.evaluation.probing import probe_patches

        report_scores(probe_patches, args)


if __name__ == '__main__':
    main()
