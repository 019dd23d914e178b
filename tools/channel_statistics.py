"""Mean and standard deviation of each channel of the images of a folder, of any depth, and settings for a config.

    python tools/channel_statistics.py DIR

Images are .npy, TIFF, PNG, JPEG and the like, of 1 to 32 channels; all must have the same channels and type.
"""

from __future__ import annotations

import argparse

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, 'images', '--seed', '--json')
    parser.add_argument('--sample', type=positive, help='number of images to choose at random (default: all)')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_sentence_errors('channel_statistics.py'):
        from mmbeitv2.datasets.channel_statistics import print_channel_statistics

        print_channel_statistics(args)


if __name__ == '__main__':
    main()
