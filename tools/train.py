"""Trains any config of this repository, or any other of mmpretrain or mmsegmentation."""

from __future__ import annotations

import torch
from mmengine.config import Config

from mmbeitv2.apis.launch import build_runner, load_config, make_parser
from mmbeitv2.checkpoints import require_fit
from mmbeitv2.engine import unwrapped
from mmbeitv2.errors import InputError, one_sentence_errors


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint; without a value from the last one in the work dir',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        choices=['auto', 'bfloat16', 'float16'],
        help='automatic mixed precision; without a value bfloat16 where the GPU has it, else float16',
    )
    parser.add_argument('--compile', action='store_true', help='torch.compile the model')
    args = parser.parse_args()
    with one_sentence_errors('train.py'):
        cfg = load_config(args)
        if args.amp:
            enable_amp(cfg, args.amp)
        if args.resume is not None:
            cfg.resume = True
            cfg.load_from = None if args.resume == 'auto' else args.resume
        runner = build_runner(cfg)
        if cfg.get('load_from'):
            require_fit(unwrapped(runner), cfg.load_from)
        if args.compile:
            unwrapped(runner).compile()
        runner.train()


def enable_amp(cfg: Config, dtype: str) -> None:
    """Mixed precision; of the two, only float16 needs its loss scaled."""
    if not torch.cuda.is_available():
        raise InputError('--amp needs a GPU: leave it out on CPU')
    if dtype == 'auto':
        dtype = 'bfloat16' if torch.cuda.is_bf16_supported() else 'float16'
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.dtype = dtype
    cfg.optim_wrapper.loss_scale = 'dynamic' if dtype == 'float16' else dict(enabled=False)


if __name__ == '__main__':
    main()
