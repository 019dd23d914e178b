"""Writes a model as an ONNX file, or as a torch.export program.

    python tools/export_onnx.py CONFIG CHECKPOINT OUT.onnx
    python tools/export_onnx.py CONFIG CHECKPOINT OUT.pt2

The output of a tokenizer is the codes of an image, of a classifier its logits, of a segmentor the logits of every pixel
of the whole image, and with --part backbone the features. The input is images (B, 3, H, W), float32, RGB in 0..255,
with any batch size B. Normalization is part of the file, and position parameters are constants in it; with --dynamic,
height and width are free, and positions are resized when the file runs. The file is compared with the model on some
images, with --dynamic at three sizes, with onnxruntime or torch, before it is written to OUT.
"""

from __future__ import annotations

import sys

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, 'config', 'checkpoint', '--cfg-options')
    parser.add_argument('out', metavar='OUT', help='file to write, which ends in .onnx or .pt2')
    what = 'what to export: the whole model (default), its backbone, or the tokenizer of a pretraining'
    parser.add_argument('--part', choices=['model', 'backbone', 'tokenizer'], help=what)
    size = 'side of the images in pixels, or height and width (default: that of the model)'
    parser.add_argument('--img-size', type=positive, nargs='+', metavar='SIDE', help=size)
    parser.add_argument('--images', metavar='DIR', help='folder of images to compare on (default: random ones)')
    free = 'leave height and width free: multiples of the patch size, or of twice that for a model that halves its maps'
    parser.add_argument('--dynamic', action='store_true', help=free)
    parser.add_argument('--half', action='store_true', help='compute in half precision (only for .onnx)')
    args = parser.parse_args(argv)
    with one_sentence_errors('export_onnx.py'):
        from mmbeitv2.fileio.outputs import require_writable
        from mmbeitv2.inference.exporting import export_model

        require_writable(args.out, 'OUT')
        sys.stdout.write(f'{export_model(**vars(args))}\n')


if __name__ == '__main__':
    main()
