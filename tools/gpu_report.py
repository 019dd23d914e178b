"""Runs all that waits for a GPU, one piece after the other, and puts the results into docs/benchmarks.md.

    bash tools/gpu_report.sh work_dirs/gpu_report
    bash tools/gpu_report.sh work_dirs/gpu_report --piece tests --piece profile

Pieces: the tests that need a GPU; benchmark.py against its peers; memory with and without activation checkpointing;
where the time of a step goes; two hundred steps of VQ-KD and of pretraining. Each takes less than ten minutes in a
process of its own and leaves a JSON file in WORK_DIR; the same command goes on where it was stopped. A piece that fails
is reported, the others go on, and the exit code is 1. Without a GPU, each piece runs at tiny size on the CPU, which
shows that it works; such numbers go into no page unless --page names one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmbeitv2.errors import one_sentence_errors


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, nargs='?', default=Path('work_dirs/gpu_report'), help='for the results')
    parser.add_argument('--piece', action='append', metavar='NAME', help='run this piece only; may be given repeatedly')
    parser.add_argument('--list', action='store_true', help='print the names of the pieces, and stop')
    parser.add_argument(
        '--page', type=Path, metavar='FILE.md', help='page for the results (default: docs/benchmarks.md; none on CPU)'
    )
    parser.add_argument(
        '--in-process', action='store_true', help='run the pieces in this process, and so without a limit of time'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_sentence_errors('gpu_report.py'):
        from mmbeitv2.benchmarks.gpu_report import report

        report(args)


if __name__ == '__main__':
    main()
