"""Pictures of the self-attention of the CLS token and of a chosen patch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.config import Config
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmbeitv2.datasets.resizing import Fit
from mmbeitv2.errors import InputError
from mmbeitv2.evaluation.probing import require_layer
from mmbeitv2.inference.channels import channels_of
from mmbeitv2.visualization.features import load_backbone, normalize, read_image
from mmbeitv2.visualization.pictures import new_figure, show


def attention_picture(
    cfg: Config,
    checkpoint: str,
    image: Path,
    patch: tuple[int, int] | None = None,
    layer: int = -1,
    fit: Fit = 'crop',
) -> Figure:
    """An image, and the attention of all heads: CLS in the first row, the chosen patch in the second.

    Args:
        cfg: of a pretraining, classification, segmentation or tokenizer.
        checkpoint: a file that :class:`PretrainedBEiTv2` reads.
        image: file.
        patch: row and column of the chosen patch; None for the middle.
        layer: block, counted from 0; negative ones count from the last.
        fit: how the image gets the model's size, see :class:`VisualTokenizer`.
    """
    backbone = load_backbone(cfg, checkpoint)
    (h, w), side = backbone.grid_size, backbone.patch_size
    row, column = patch or (h // 2, w // 2)
    if not (0 <= row < h and 0 <= column < w):
        raise InputError(f'patch {row} {column} lies outside the grid of {h}x{w} patches, counted from 0')
    channels = channels_of(cfg)
    pixels = read_image(image, (h * side, w * side), fit, channels)
    attention = attention_of_layer(backbone, normalize(pixels, cfg)[None], layer)[0]  # (heads, prefix+N, prefix+N)
    prefix = attention.shape[1] - h * w  # CLS and registers
    if prefix == 0:
        raise InputError('the backbone has no CLS token, whose attention is drawn')
    cls = attention[:, 0, prefix:].unflatten(1, (h, w)).numpy()
    chosen = attention[:, prefix + row * w + column, prefix:].unflatten(1, (h, w)).numpy()
    shown = pixels if channels is None else channels.picture(pixels)
    return draw_attention(shown.permute(1, 2, 0).numpy(), cls, chosen, (row, column))


class _Recorder(TorchFunctionMode):
    """Keeps queries, keys and bias of each fused attention that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self.found.append((args[0], args[1], kwargs.get('attn_mask', args[3] if len(args) > 3 else None)))
        return func(*args, **kwargs)


@torch.inference_mode()
def attention_of_layer(backbone: nn.Module, images: Tensor, layer: int = -1) -> Tensor:
    """Attention of a block: (B, num_heads, T, T), each row the weights over the tokens, CLS first and patches last.

    Args:
        backbone: in eval mode, with ``blocks`` that compute their attention by ``F.scaled_dot_product_attention``.
        images: (B, 3, H, W), normalized.
        layer: counted from 0; negative ones count from the last.

    Raises:
        InputError: if there is no such block, or the attention is computed in another way.
    """
    number = require_layer(backbone, layer)
    with _Recorder() as recorder:
        backbone(images)
    if len(recorder.found) < len(backbone.blocks):  # type: ignore[arg-type]
        raise InputError(
            'the attention of this backbone cannot be drawn: its blocks do not call F.scaled_dot_product_attention'
        )
    q, k, bias = recorder.found[number]
    logits = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    return (logits if bias is None else logits + bias).softmax(dim=-1)


def draw_attention(image: np.ndarray, cls: np.ndarray, chosen: np.ndarray, patch: tuple[int, int]) -> Figure:
    """An image (H, W, 3) below the attention of CLS and of the patch in a row and column, both (heads, h, w)."""
    num_heads, height, width = len(cls), *image.shape[:2]
    figure = new_figure(1.3 * (num_heads + 2), 2.9)
    axes = figure.subplots(2, num_heads + 2, squeeze=False)
    for row, maps, title in zip(axes, (cls, chosen), ('CLS', f'patch {patch[0]}, {patch[1]}'), strict=True):
        show(row[0], image, title)
        names = ('mean', *(f'head {i}' for i in range(num_heads)))
        for axis, values, name in zip(row[1:], (maps.mean(axis=0), *maps), names, strict=True):
            axis.imshow(image, alpha=0.35)
            extent = (-0.5, width - 0.5, height - 0.5, -0.5)
            show(axis, values, name, alpha=0.75, cmap='magma', vmin=0, extent=extent)
    side = height / cls.shape[1]
    corner = (patch[1] * side - 0.5, patch[0] * side - 0.5)
    axes[1, 0].add_patch(Rectangle(corner, side, side, fill=False, edgecolor='red', linewidth=1.5))
    return figure
