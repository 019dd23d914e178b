"""Counts parameters and floating point operations of the model of a config, by PyTorch's FlopCounterMode.

    python tools/get_flops.py configs/beitv2_vit-b_1600e.py --shape 224

Counts one forward of one whole image (nothing masked): for a pretraining config, backbone, patch aggregation, head and
the tokenizer's encoder, each separately; for a tokenizer, encoder and decoder; otherwise the model. A multiplication
and the addition that follows count as one operation, as usual in tables of models. Convolutions and products of
matrices are counted, and nothing else.
"""

from __future__ import annotations

import math
import sys
from typing import Any

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
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode

        from mmbeitv2.inference.loading import load_model

        model = load_model(args.config, None, cfg_options=args.cfg_options)
        channels = next((part.in_channels for part in model.modules() if isinstance(part, torch.nn.Conv2d)), 3)
        sys.stdout.write(f'{args.shape[0]}x{args.shape[-1]:<8}{"parameters":>12}{"operations":>14}\n')
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # whose products are counted
            for name, (part, *arguments) in parts(model, torch.zeros(1, channels, args.shape[0], args.shape[-1])):
                with FlopCounterMode(display=False) as counter:
                    part(*arguments)
                parameters = sum(parameter.numel() for parameter in part.parameters())
                operations = counter.get_total_flops() / 2
                sys.stdout.write(f'{name:12}{parameters / 1e6:>10.2f} M{operations / 1e9:>12.2f} G\n')


def parts(model: Any, images: Any) -> list[tuple[str, tuple]]:
    """The parts to count, by name, each with what it takes, for ``images`` (1, C, H, W)."""
    import torch

    if hasattr(model, 'encode') and hasattr(model, 'decoder'):  # a tokenizer that learns by reconstruction
        return [('encoder', (model.encoder, images)), ('decoder', (model.decoder, model.encode(images)[0]))]
    if not hasattr(model, 'tokenizer') or not hasattr(getattr(model, 'backbone', None), 'forward_masked'):
        return [('model', (model, images))]
    num_patches = math.prod(-(-side // model.backbone.patch_size) for side in images.shape[-2:])
    nothing, everything = torch.zeros(1, num_patches, dtype=torch.bool), torch.arange(num_patches)[None]
    features = model.backbone.forward_masked(images, nothing, everything)
    found: list[tuple[str, tuple]] = [('backbone', (model.backbone, images))]
    if model.neck is not None:
        found.append(('neck', (model.neck, features, everything)))
    found.append(('head', (model.head, features.masked)))
    tokenizer = model.tokenizer.module
    if hasattr(tokenizer, 'encoder') or getattr(tokenizer, 'teacher', tokenizer) is not None:
        side = getattr(model.data_preprocessor, 'view_size', None)
        views = images if side is None else torch.zeros(1, images.shape[1], side, side)
        found.append(('tokenizer', (getattr(tokenizer, 'encoder', tokenizer), views)))
    return found


if __name__ == '__main__':
    main()
