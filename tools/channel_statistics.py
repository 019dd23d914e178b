"""Mean and standard deviation of each channel of the images of a folder, of any depth, and settings for a config.

    python tools/channel_statistics.py DIR

Images are .npy, TIFF, PNG, JPEG and the like, of 1 to 32 channels; all must have the same channels and type.
"""

from __future__ import annotations

import argparse
import sys

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, 'images', '--seed', '--json')
    parser.add_argument('--sample', type=positive, help='number of images to choose at random (default: all)')
    args = parser.parse_args(argv)
    with one_sentence_errors('channel_statistics.py'):
        measure(args)


def measure(args: argparse.Namespace) -> None:
    """Prints a table and settings, and writes the numbers."""
    import numpy as np
    from tqdm import tqdm

    from mmbeitv2.datasets import CHANNEL_EXTENSIONS, image_files
    from mmbeitv2.datasets.channel_statistics import channel_statistics, config_lines, table
    from mmbeitv2.fileio.outputs import require_json, write_json

    require_json(args.json)
    paths = list(image_files(args.images, CHANNEL_EXTENSIONS).values())
    if args.sample is not None and args.sample < len(paths):
        chosen = np.random.default_rng(args.seed).choice(len(paths), args.sample, replace=False)
        paths = [paths[i] for i in sorted(chosen)]
    statistics = channel_statistics(tqdm(paths, unit='image'))
    sys.stdout.write(f'{table(statistics)}\n{config_lines(statistics)}')
    write_json(args.json, statistics)


if __name__ == '__main__':
    main()
