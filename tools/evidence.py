"""Runs the study of docs/evidence.md, as far as it has not been run, and writes its tables and plots.

    python tools/evidence.py --preset cpu --jobs 2 --minutes 120

A job that was done has a record in docs/evidence/PRESET, and is not run again; one that was stopped continues where it
was. The data is expected in data/cifar10 and data/camvid.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument('--preset', choices=['cpu', 'gpu'], default='cpu', help='size of the study (default: cpu)')
    parser.add_argument('--only', nargs='+', default=[], metavar='JOB', help='jobs that begin like this, in this order')
    parser.add_argument('--jobs', type=positive, default=2, help='processes at once (default: %(default)s)')
    parser.add_argument('--minutes', type=float, help='stop after this time')
    parser.add_argument('--teacher', metavar='FILE', help="weights of timm's mobilenetv2_100, if not downloaded")
    parser.add_argument(
        '--list', action='store_true', help='only list the jobs that are known and whether they are done'
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/evidence'), help='folder of the runs')
    parser.add_argument('--docs', type=Path, default=Path('docs'), help='folder of evidence.md and of the records')
    args = parser.parse_args(argv)
    with one_sentence_errors('evidence.py'):
        from mmbeitv2_tools.evidence.page import around_tables, write_page
        from mmbeitv2_tools.evidence.running import run_study
        from mmbeitv2_tools.evidence.study import CONFIGS, Study

        from mmbeitv2.errors import InputError
        from mmbeitv2.fileio.locking import hold_folder

        records = args.docs / 'evidence' / args.preset
        study = Study(CONFIGS / f'{args.preset}.py', args.work_dir / args.preset, records, args.teacher)
        if args.list:
            for name in dict.fromkeys(job.name for job in study.jobs()):
                sys.stdout.write(f'{"done" if name in study.records else "open"}  {name}\n')
            return
        rows = ('tokenizers', *study.rows)
        for part in args.only:
            if not any(row.startswith(part.partition('/')[0]) for row in rows):
                raise InputError(f'--only {part}: no row begins like this. Choose from {", ".join(rows)}.')
        if args.only and not any(job.name.startswith(tuple(args.only)) for job in study.jobs()):
            raise InputError(
                f'--only {" ".join(args.only)}: no job that is known begins like this. Choose from those of --list; '
                'more are known when the learning rates of a row, or of the row whose rates it takes, are chosen.'
            )
        around_tables(args.docs / 'evidence.md', args.preset)  # which is written when all has been run
        if args.teacher is not None and not Path(args.teacher).is_file():
            raise InputError(f'--teacher {args.teacher}: there is no such file. Pass the weights of mobilenetv2_100.')
        hold_folder(args.work_dir / args.preset, 'study')
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the jobs are stopped too
        failed = run_study(study, args.only, args.jobs, args.minutes)
        write_page(study, args.docs, args.preset)
        if failed:
            raise InputError(f'{", ".join(failed)} failed. Read log.txt in their folders in {str(args.work_dir)!r}.')


if __name__ == '__main__':
    main()
