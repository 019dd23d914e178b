"""Compares ways to resize random crops with PIL's antialiased bicubic filter, which the release uses.

    python tools/benchmark_resampling.py DIR [--tokenizer CONFIG CHECKPOINT]

Prints for each way the CPU time per crop in milliseconds, its mean absolute difference from PIL's (of 255) over all
crops and over those that shrink by 1.5 or more, and with a tokenizer the share of codes that are not those of PIL's
crops. The tokenizer sees crops of its own size, of images that are shrunk first, so that these crops shrink as much.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import positive


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', type=Path, help='folder of photographs')
    parser.add_argument('--tokenizer', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='whose codes to compare')
    parser.add_argument('--size', type=positive, default=224, help='side of the crops in pixels (default: %(default)s)')
    parser.add_argument('--share', type=float, default=0.2, help='smallest share of the area (default: %(default)s)')
    parser.add_argument(
        '--num-images', type=positive, default=300, help='largest number of images (default: %(default)s)'
    )
    parser.add_argument(
        '--repeats', type=positive, default=5, help='number of rounds over the images (default: %(default)s)'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_sentence_errors('benchmark_resampling.py'):
        from mmbeitv2_tools.benchmarks.resampling import compare_resampling

        compare_resampling(args)


if __name__ == '__main__':
    main()
