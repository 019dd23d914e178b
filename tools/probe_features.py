"""Scores a backbone without training it: k nearest neighbors and a linear probe on its frozen CLS token.

    python tools/probe_features.py CONFIG CHECKPOINT --bank DIR --query DIR --json probe.json

CONFIG and CHECKPOINT are those of a pretraining; DIR/CLASS/... are labeled images: --bank to learn from, --query to
score. The probe is multinomial logistic regression on the features, each scaled to unit variance over the bank, its
weight decay chosen on a fifth of the bank; for the paper's schedule see configs/classification/*_linear-100e_in1k.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive


def main(argv: list[str] | None = None) -> None:
    shared = ('config', 'checkpoint', '--fit', '--num-workers', '--device', '--json', '--cfg-options')
    parser = make_parser(__doc__, *shared)
    parser.add_argument('--bank', type=Path, required=True, metavar='DIR', help='labeled images to learn from')
    parser.add_argument('--query', type=Path, required=True, metavar='DIR', help='labeled images to score')
    parser.add_argument('--num-neighbors', type=positive, default=20, help='neighbors that vote (default: %(default)s)')
    args = parser.parse_args(argv)
    with one_sentence_errors('probe_features.py'):
        from mmbeitv2.apis import probe_features
        from mmbeitv2.fileio.outputs import require_json, write_json

        options = vars(args)
        require_json(file := options.pop('json'))
        scores = probe_features(**options)
        sys.stdout.write(''.join(f'{name} {score:.2f}\n' for name, score in scores.items()))
        write_json(file, scores)


if __name__ == '__main__':
    main()
