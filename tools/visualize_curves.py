"""Draws numbers from the logs of runs: one panel for each number, one curve for each run.

python tools/visualize_curves.py WORK_DIR [WORK_DIR ...] --keys loss_reconstruction codebook_usage --out curves.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dirs', type=Path, nargs='+', metavar='WORK_DIR', help='work dir of a run')
    parser.add_argument('--keys', nargs='+', required=True, metavar='KEY', help='values in the log to draw')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.png', help='picture to write')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_sentence_errors('visualize_curves.py'):
        from mmbeitv2.visualization.curves import distinct_names, read_curve
        from mmbeitv2.visualization.pictures import draw_curves, require_picture, write_picture

        require_picture(args.out, [])
        names = distinct_names(args.work_dirs)
        panels = {key: {name: read_curve(folder, key) for name, folder in names.items()} for key in args.keys}
        write_picture(draw_curves(panels), args.out, dpi=120)
        sys.stdout.write(f'{args.out}\n')


if __name__ == '__main__':
    main()
