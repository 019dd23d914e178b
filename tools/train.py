"""Trains any config of this repository, or any other of mmpretrain or mmsegmentation."""

from __future__ import annotations

from mmengine.config import Config

from mmbeitv2.apis.launch import build_runner, load_config, make_parser, unwrapped
from mmbeitv2.checkpoints import require_fit
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
        '--amp', action='store_true', help='automatic mixed precision: bfloat16 where the GPU has it, else float16'
    )
    args = parser.parse_args()
    with one_sentence_errors('train.py'):
        cfg = load_config(args)
        if args.amp:
            enable_amp(cfg)
        if args.resume is not None:
            cfg.resume = True
            cfg.load_from = None if args.resume == 'auto' else args.resume
        runner = build_runner(cfg)
        if cfg.get('load_from'):
            require_fit(unwrapped(runner), cfg.load_from)
        runner.train()


def enable_amp(cfg: Config) -> None:
    import torch

    if not torch.cuda.is_available():
        raise InputError('--amp needs a GPU: leave it out on CPU')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    if torch.cuda.is_bf16_supported():
        cfg.optim_wrapper.dtype = 'bfloat16'
    else:
        cfg.optim_wrapper.loss_scale = 'dynamic'


if __name__ == '__main__':
    main()
