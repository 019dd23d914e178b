"""From nothing to a segmentation result at small scale: every stage of BEiT v2 on the built-in sample set.

Sample set, teacher, tokenizer, pretraining, fine-tuning and segmentation, the last two also from scratch as controls,
all through tools/train.py and tools/test.py. Ends with a table, and leaves pictures and summary.json in the work dir.
What is done is kept: run again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmbeitv2.demo.console import say, seeds_table, table
from mmbeitv2.demo.quickstart import Quickstart
from mmbeitv2.errors import InputError, one_sentence_errors


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='quickstart.sh', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--data',
        type=Path,
        metavar='DIR',
        help='your images instead of the sample set: a folder, or one with train/CLASS and val/CLASS',
    )
    parser.add_argument(
        '--seg-data', type=Path, metavar='DIR', help="your segmented images, in ADE20K's layout (0 is unlabelled)"
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/quickstart'),
        help='folder for all results (default: %(default)s)',
    )
    parser.add_argument('--fresh', action='store_true', help='start over')
    parser.add_argument('--seed', type=int, default=0, help='of all stages (default: %(default)s)')
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        metavar='SEED',
        help='one pretraining, then fine-tuning, segmentation and their controls with each seed: mean and deviation',
    )
    args = parser.parse_args()
    with one_sentence_errors('quickstart.sh'):
        if args.seeds and len(set(args.seeds)) < 2:
            raise InputError('--seeds wants two different numbers or more: for one use --seed')
        seeds = args.seeds or [args.seed]
        runs = [
            Quickstart(
                args.work_dir / f'seed_{seed}' if args.seeds else args.work_dir,
                args.data,
                args.seg_data,
                seed,
                shared_dir=args.work_dir,
            )
            for seed in seeds
        ]
        for run in runs:
            run.check_folders()
        if args.fresh:
            for run in runs:
                run.forget()
        if not args.seeds:
            say(f'\n{table(runs[0].run())}\n\npictures and summary.json are in {args.work_dir}')
            return
        summaries = []
        for run in runs:
            say(f'seed {run.seed}')
            summaries.append(run.run())
        (args.work_dir / 'summary_seeds.json').write_text(json.dumps(summaries, indent=2) + '\n')
        say('\n' + seeds_table(summaries))


if __name__ == '__main__':
    main()
