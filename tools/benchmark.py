"""Measures a training step or the data pipeline against a peer: both in one process, in turn, medians and their ratio.

    python tools/benchmark.py pretrain --peer mmpretrain --json pretrain.json
    python tools/benchmark.py tokenizer --json tokenizer.json
    python tools/benchmark.py segment --json segment.json
    python tools/benchmark.py data --peer mmpretrain --json data.json

``pretrain``: BEiT v2, against mmpretrain's BEiT v2 of the same architecture, batch and precision.
``tokenizer``: VQ-KD at full size, against the same with the cosine quantizer of vector-quantize-pytorch.
``segment``: UperNet on our backbone, against the same on mmseg's BEiT: a training step at 512x512, and one image of
683x512 in overlapping crops (keys ``slide_...``) and of 512x512 as a whole (``whole_...``).
``data``: the pretraining pipeline on one core, against mmpretrain's, on 500x375 JPEGs of its own or on --images DIR.

Weights and images are random; no download is needed. The JSON has ``ours`` and ``peer`` in images/s, ``ratio`` = ours /
peer, and for models ``memory_ratio``, the same of the peak memory.
"""

from __future__ import annotations

from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive

WHAT = ('pretrain', 'tokenizer', 'segment', 'data')


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, '--json', '--cfg-options')
    parser.add_argument('what', choices=WHAT, help='what to measure')
    parser.add_argument('--peer', choices=['mmpretrain'], help='for pretrain and data (the default)')
    where = 'write to this file where the time of our step goes, and measure nothing'
    parser.add_argument('--profile', type=Path, metavar='FILE.txt', help=where)
    count = 'number of images (default, CPU/GPU: pretrain 4/256; tokenizer 8/64; segment 2/16; data 64)'
    parser.add_argument('--batch-size', type=positive, help=count)
    parser.add_argument('--repeats', type=positive, default=7, help='steps to measure (default: %(default)s)')
    precision = 'autocast (default: bfloat16 on a GPU, none on CPU)'
    parser.add_argument('--amp', choices=['none', 'bfloat16', 'float16'], help=precision)
    parser.add_argument('--compile', action='store_true', help='torch.compile our model')
    parser.add_argument('--config', type=Path, metavar='FILE.py', help='our config (default: that of ViT-B)')
    folder = 'folder of images for data (default: images that it makes)'
    parser.add_argument('--images', type=Path, metavar='DIR', help=folder)
    parser.add_argument('--tiny', action='store_true', help='models of width 48, to see that everything runs')
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='(default: the GPU if there is one)')
    args = parser.parse_args(argv)
    with one_sentence_errors('benchmark.py'):
        from mmbeitv2_tools.benchmarks.comparison import run_benchmark

        run_benchmark(args)


if __name__ == '__main__':
    main()
