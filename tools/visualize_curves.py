"""Draws numbers from the logs of runs: one panel for each number, one curve for each run.

python tools/visualize_curves.py WORK_DIR [WORK_DIR ...] --keys loss_reconstruction codebook_usage --out curves.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmbeitv2.errors import one_sentence_errors
from mmbeitv2.visualization.curves import read_curve
from mmbeitv2.visualization.pictures import draw_curves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dirs', type=Path, nargs='+', metavar='WORK_DIR', help='of a run')
    parser.add_argument('--keys', nargs='+', required=True, metavar='KEY', help='numbers of the log')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.png', help='picture to write')
    args = parser.parse_args()
    with one_sentence_errors('visualize_curves.py'):
        panels = {key: {folder.name: read_curve(folder, key) for folder in args.work_dirs} for key in args.keys}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        draw_curves(panels).savefig(args.out, dpi=120)
        sys.stdout.write(f'{args.out}\n')


if __name__ == '__main__':
    main()
