"""Counts parameters and floating point operations of the model of a config, by fvcore.

    python tools/get_flops.py configs/beitv2_vit-b_1600e.py --shape 224

Counts one forward of one whole image (nothing masked): for a pretraining config, backbone, patch aggregation, head and
the tokenizer's encoder, each separately; for a tokenizer, encoder and decoder; otherwise the model. A multiplication
and the addition that follows count as one operation, as usual in tables of models.
"""

from __future__ import annotations

import sys

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, 'config', '--cfg-options')
    sides = 'side of the image, or its height and width (default: 224)'
    parser.add_argument('--shape', type=positive, nargs='+', default=[224], help=sides)
    args = parser.parse_args(argv)
    if len(args.shape) > 2:
        parser.error('--shape must be one or two sides in pixels')
    with one_sentence_errors('get_flops.py'):
        from mmbeitv2.evaluation.complexity import complexity

        counted = complexity(args.config, (args.shape[0], args.shape[-1]), args.cfg_options)
        lines = [f'{"":12}{"parameters":>12}{"operations":>14}\n']
        for name, part in counted.items():
            lines.append(f'{name:12}{part.parameters / 1e6:>10.2f} M{part.operations / 1e9:>12.2f} G\n')
        sys.stdout.write(''.join(lines))


if __name__ == '__main__':
    main()
