"""Trains a config of this repository, of mmpretrain or of mmsegmentation."""

from __future__ import annotations

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_run_parser


def main(argv: list[str] | None = None) -> None:
    parser = make_run_parser(__doc__)
    resume = 'continue from a checkpoint (a path or an address), or without a value from the last one in the work dir'
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT', help=resume)
    changes = 'with --resume: settings that may differ from the earlier run, e.g. model.drop_path_rate, dataset or seed'
    parser.add_argument('--allow-changes', nargs='+', default=[], metavar='KEY', help=changes)
    amp = 'automatic mixed precision; without a value bfloat16 if the GPU supports it, else float16'
    parser.add_argument('--amp', nargs='?', const='auto', choices=['auto', 'bfloat16', 'float16'], help=amp)
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    scale = 'scale the learning rate by the actual batch size divided by the base_batch_size of auto_scale_lr'
    parser.add_argument('--auto-scale-lr', action='store_true', help=scale)
    parser.add_argument('--compile', action='store_true', help='torch.compile the model')
    args = parser.parse_args(argv)
    if args.only_parse:
        return
    with one_sentence_errors('train.py'):
        from mmbeitv2_tools.training import train  # imports torch, which --help does without

        train(args)


if __name__ == '__main__':
    main()
