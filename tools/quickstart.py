"""From nothing to a segmentation result at small scale: every stage of BEiT v2 on the built-in sample set.

Sample set, teacher, tokenizer, pretraining, fine-tuning and segmentation, the last two also from scratch as controls,
all through tools/train.py and tools/test.py. Ends with a table, and leaves pictures and summary.json in the work dir.
Finished stages are kept: the same command continues where it stopped.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

# Nothing else is imported here: --help must work before the installation.


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog='quickstart.sh', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own = 'your images instead of the sample set: any folder, or one with train/CLASS and val/CLASS'
    parser.add_argument('--data', type=Path, metavar='DIR', help=own)
    results = 'folder for all results (default: %(default)s)'
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quickstart'), help=results)
    means = 'one pretraining, then fine-tuning, segmentation and their controls with each seed: mean and deviation'
    parser.add_argument('--seeds', type=int, nargs='+', metavar='SEED', help=means)
    args = parser.parse_args(argv)
    from mmbeitv2_tools.errors import one_sentence_errors

    with one_sentence_errors('quickstart.sh'):
        from demo.quickstart import run_quickstart

        run_quickstart(args, Path(__file__).resolve().parents[1])


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that its stage ends, too
    main()
