"""Runs all measurements and tests that need a GPU, one after the other, and writes the results into docs/benchmarks.md.

    bash tools/gpu_report.sh work_dirs/gpu_report
    bash tools/gpu_report.sh work_dirs/gpu_report --piece tests --piece profile

Pieces: the tests that need a GPU; benchmark.py against its peers; memory with and without activation checkpointing;
where the time of a step goes; two hundred steps of VQ-KD and of pretraining. Each takes less than ten minutes, runs in
its own process and writes a JSON file into WORK_DIR; the same command continues where it was stopped. If a piece fails,
this is reported, the others are run nevertheless, and the exit code is 1. Without a GPU, each piece runs at a tiny size
on the CPU, which only shows that it works; such numbers are only written to a page if --page names one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'work_dir', type=Path, nargs='?', default=Path('work_dirs/gpu_report'), help='folder for the results'
    )
    parser.add_argument('--piece', action='append', metavar='NAME', help='run only this piece; may be repeated')
    parser.add_argument('--list', action='store_true', help='print the names of the pieces, and stop')
    parser.add_argument(
        '--page',
        type=Path,
        metavar='FILE.md',
        help='page to write the results into (default: docs/benchmarks.md; none on CPU)',
    )
    parser.add_argument(
        '--in-process', action='store_true', help='run the pieces in this process, and so without a time limit'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_sentence_errors('gpu_report.py'):
        from mmbeitv2_tools.benchmarks.gpu_report import report

        report(args)


if __name__ == '__main__':
    main()
