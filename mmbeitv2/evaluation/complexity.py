"""Parameters and floating point operations of a model, counted by fvcore."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from mmbeitv2.inference.loading import load_model


class Complexity(NamedTuple):
    """Size of a module, and what one forward of one image costs it."""

    parameters: int
    operations: int  #: a multiplication and the addition that follows count as one


class Called(nn.Module):
    """A module with its arguments, which need not be of a type that can be traced."""

    def __init__(self, module: nn.Module, *arguments: Any) -> None:
        super().__init__()
        self.module, self.arguments = module, arguments

    def forward(self, _: Tensor) -> Any:
        return self.module(*self.arguments)


@torch.no_grad()  # with gradients, the CPU takes a kernel that cannot be traced
def complexity(
    config: str, shape: tuple[int, int] = (224, 224), cfg_options: Sequence[str] | dict | None = None
) -> dict[str, Complexity]:
    """Counts each part of a model that works while it passes one whole image of a shape (height, width).

    Returns:
        By the name of the part, ``encoder`` and ``decoder`` of a tokenizer; ``backbone``, ``neck``, ``head`` and
        ``tokenizer`` (its encoder, if it has one) of a pretraining; any other model as a whole, ``model``.
    """
    model = load_model(config, None, cfg_options=cfg_options)
    channels = next((part.in_channels for part in model.modules() if isinstance(part, nn.Conv2d)), 3)
    counted = {}
    for name, part in parts(model, torch.zeros(1, channels, *shape)).items():
        counter = FlopCountAnalysis(part, (torch.empty(0),))
        counter = counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counter.set_op_handle('aten::scaled_dot_product_attention', _attention_operations)
        parameters = sum(parameter.numel() for parameter in part.parameters())
        counted[name] = Complexity(parameters, int(counter.total()))
    return counted


def _attention_operations(inputs: list, outputs: list) -> int:
    """Of fused attention, as fvcore counts them: one for a product with its addition."""
    batch, num_heads, queries, width = inputs[0].type().sizes()
    return 2 * batch * num_heads * queries * inputs[1].type().sizes()[2] * width


def parts(model: Any, images: Tensor) -> dict[str, Called]:
    """The parts to count, each with what it takes."""
    if hasattr(model, 'encode') and hasattr(model, 'decoder'):  # a tokenizer that learns by reconstruction
        return {'encoder': Called(model.encoder, images), 'decoder': Called(model.decoder, model.encode(images)[0])}
    if not hasattr(model, 'tokenizer') or not hasattr(getattr(model, 'backbone', None), 'forward_masked'):
        return {'model': Called(model, images)}
    num_patches = math.prod(-(-side // model.backbone.patch_size) for side in images.shape[-2:])
    nothing, everything = torch.zeros(1, num_patches, dtype=torch.bool), torch.arange(num_patches)[None]
    features = model.backbone.forward_masked(images, nothing, everything)
    counted = {'backbone': Called(model.backbone, images)}
    if model.neck is not None:
        counted['neck'] = Called(model.neck, features, everything)
    counted['head'] = Called(model.head, features.masked)
    tokenizer = model.tokenizer.module
    if hasattr(tokenizer, 'encoder') or getattr(tokenizer, 'teacher', tokenizer) is not None:
        side = getattr(model.data_preprocessor, 'view_size', None)
        views = images if side is None else torch.zeros(1, images.shape[1], side, side)
        counted['tokenizer'] = Called(getattr(tokenizer, 'encoder', tokenizer), views)
    return counted
