"""Writes the weights of a BEiT model in the format of another library.

    python tools/convert_checkpoint.py SRC DST --to {mmbeitv2,official,timm,mmpretrain,hf} [--config CONFIG]

SRC is a checkpoint of this package, of the BEiT v2 release, of timm, mmpretrain or Hugging Face transformers (the
folder of ``save_pretrained``): the format is recognized automatically. It is a path, an address (https://...), or the
name of a published model, which is downloaded. DST is a file (safetensors if its name ends in .safetensors), or for hf
a folder that ``from_pretrained`` loads. LoRA layers are merged; the weights that they change come from where CONFIG,
with which SRC was trained, says.
"""

from __future__ import annotations

import sys

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser

FORMATS = ('mmbeitv2', 'official', 'timm', 'mmpretrain', 'hf')


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument('src', help='checkpoint to read: a path, an address, or the name of a published model')
    parser.add_argument('dst', help='file to write, or folder for hf')
    parser.add_argument('--to', choices=FORMATS, required=True, help='format to write')
    parser.add_argument('--ema', action='store_true', help='take the averaged weights of SRC (model_ema)')
    parser.add_argument('--config', help='config of SRC, if SRC holds LoRA layers')
    args = parser.parse_args(argv)
    with one_sentence_errors('convert_checkpoint.py'):
        from mmbeitv2.checkpoints import convert_checkpoint
        from mmbeitv2.inference.loading import load_model

        model = None if args.config is None else load_model(args.config, args.src)
        state, left_out = convert_checkpoint(args.src, args.dst, args.to, args.ema, model)
        sys.stdout.write(f'{args.dst}: {len(state)} weights\n')
        if left_out:
            sys.stdout.write(f'{args.to} has no place for {len(left_out)} of the weights: {", ".join(left_out)}\n')


if __name__ == '__main__':
    main()
