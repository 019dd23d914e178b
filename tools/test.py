"""Scores a checkpoint with the test set and the metrics of its config."""

from __future__ import annotations

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_run_parser


def main(argv: list[str] | None = None) -> None:
    parser = make_run_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    out = 'write the metrics to FILE.json, the predictions to FILE.pkl, or label maps of a segmentation to a folder'
    parser.add_argument('--out', metavar='PATH', help=out)
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument('--show-dir', metavar='DIR', help='write pictures of the predictions to this folder')
    parser.add_argument('--interval', type=int, default=1, help='draw every Nth image (default: 1)')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    args = parser.parse_args(argv)
    if args.only_parse:
        return
    with one_sentence_errors('test.py'):
        from mmbeitv2_tools.testing import test  # imports torch, which --help does without

        test(args)


if __name__ == '__main__':
    main()
