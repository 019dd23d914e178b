"""Parameters and floating point operations of a model, counted by fvcore."""

from __future__ import annotations

import argparse
import logging
import math
import sys

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.inference.loading import load_model
from mmbeitv2.pretraining.beitv2 import BEiTv2
from mmbeitv2.tokenizers import VQKD

Parts = dict[str, tuple[nn.Module, tuple[Tensor, ...]]]


def show_complexity(args: argparse.Namespace) -> None:
    """Writes a table to standard output; see ``tools/get_flops.py --help`` for ``args``.

    Raises:
        InputError: if the shape has more than two sides, or an image of it does not fit the model.
    """
    if len(args.shape) > 2:
        raise InputError(f'--shape {" ".join(map(str, args.shape))} must be one or two sides in pixels')
    logging.getLogger('fvcore').setLevel(logging.ERROR)
    model = load_model(args.config, None, cfg_options=args.cfg_options)
    channels = next((part.in_channels for part in model.modules() if isinstance(part, nn.Conv2d)), 3)  # of the input
    images = torch.zeros(1, channels, args.shape[0], args.shape[-1])
    lines = [f'{"":12}{"parameters":>12}{"operations":>14}\n']
    for name, (part, inputs) in parts(model, images).items():
        counter = FlopCountAnalysis(part, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counter.set_op_handle('aten::scaled_dot_product_attention', _attention_operations)
        parameters = sum(parameter.numel() for parameter in part.parameters())
        with torch.no_grad():  # else the CPU takes a kernel that cannot be traced
            operations = counter.total()
        lines.append(f'{name:12}{parameters / 1e6:>10.2f} M{operations / 1e9:>12.2f} G\n')
    sys.stdout.write(''.join(lines))


def _attention_operations(inputs: list, outputs: list) -> int:
    """Of fused attention, as fvcore counts them: one for a product with its addition."""
    batch, num_heads, queries, width = inputs[0].type().sizes()
    return 2 * batch * num_heads * queries * inputs[1].type().sizes()[2] * width


@torch.no_grad()
def parts(model: nn.Module, images: Tensor) -> Parts:
    """The parts to count, and what each takes."""
    if isinstance(model, VQKD):
        return {'encoder': (model.encoder, (images,)), 'decoder': (model.decoder, (model.encode(images)[0],))}
    if not isinstance(model, BEiTv2):
        return {'model': (model, (images,))}
    num_patches = math.prod(-(-side // model.backbone.patch_size) for side in images.shape[-2:])
    nothing, everything = torch.zeros(1, num_patches, dtype=torch.bool), torch.arange(num_patches)[None]
    features = model.backbone.forward_masked(images, nothing, everything)
    counted: Parts = {'backbone': (model.backbone, (images,))}
    if model.neck is not None:
        counted['neck'] = (model.neck, (features, everything))
    counted['head'] = (model.head, (features.masked,))
    views = images
    if model.data_preprocessor.view_size is not None:
        views = torch.zeros(1, images.shape[1], *[model.data_preprocessor.view_size] * 2)
    if hasattr(model.tokenizer.module, 'encoder'):  # a k-means tokenizer has its teacher only, which is not built here
        counted['tokenizer'] = (model.tokenizer.module.encoder, (views,))
    return counted
