"""Scores a checkpoint with the test set and the metrics of its config."""

from __future__ import annotations

from pathlib import Path

import mmengine

from mmbeitv2.apis.launch import build_runner, load_config, make_parser
from mmbeitv2.checkpoints import require_fit
from mmbeitv2.engine import unwrapped
from mmbeitv2.errors import InputError, one_sentence_errors


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', metavar='FILE.json', help='write the metrics to this file')
    args = parser.parse_args()
    with one_sentence_errors('test.py'):
        if args.out is not None and not args.out.endswith('.json'):
            raise InputError(f'--out {args.out!r} must end in .json')
        cfg = load_config(args)
        if cfg.get('test_evaluator') is None:
            raise InputError(
                f'config {args.config!r} has no test_evaluator, so nothing can be scored: give a config with one'
            )
        cfg.pop('runner_type', None)  # sharding is for training
        runner = build_runner(cfg)
        require_fit(unwrapped(runner), args.checkpoint)
        runner.load_checkpoint(args.checkpoint)
        metrics = runner.test()
        if args.out is not None and runner.rank == 0:
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            mmengine.dump(metrics, args.out)


if __name__ == '__main__':
    main()
