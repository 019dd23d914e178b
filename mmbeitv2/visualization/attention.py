"""Pictures of the self-attention of the CLS token and of a chosen patch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.config import Config
from torch import Tensor

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.errors import InputError
from mmbeitv2.inference.channels import channels_of
from mmbeitv2.inference.visual_tokenizer import Fit
from mmbeitv2.layers import Attention, Block
from mmbeitv2.visualization.features import load_backbone, normalize, read_image, require_layer
from mmbeitv2.visualization.pictures import new_figure


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
        fit: how the image becomes a square, see :class:`VisualTokenizer`.
    """
    backbone = load_backbone(cfg, checkpoint)
    (h, w), side = backbone.grid_size, backbone.patch_size
    row, column = patch or (h // 2, w // 2)
    if not (0 <= row < h and 0 <= column < w):
        raise InputError(f'patch {row} {column} lies outside the grid of {h}x{w} patches, counted from 0')
    channels = channels_of(cfg)
    pixels = read_image(image, (h * side, w * side), fit, channels)
    attention = attention_of_layer(backbone, normalize(pixels, cfg)[None], layer)[0]  # (heads, 1+N, 1+N)
    cls = attention[:, 0, 1:].unflatten(1, (h, w)).numpy()
    chosen = attention[:, 1 + row * w + column, 1:].unflatten(1, (h, w)).numpy()
    shown = pixels if channels is None else channels.picture(pixels)
    return draw_attention(shown.permute(1, 2, 0).numpy(), cls, chosen, (row, column))


@torch.inference_mode()
def attention_of_layer(backbone: BEiTv2ViT, images: Tensor, layer: int = -1) -> Tensor:
    """Attention of a block: (B, num_heads, 1+N, 1+N), each row the weights over the tokens, CLS first.

    Args:
        backbone: in eval mode.
        images: (B, 3, H, W), normalized.
        layer: counted from 0; negative ones count from the last.
    """
    found: list[Tensor] = []

    def keep(attention: torch.nn.Module, inputs: tuple) -> None:
        assert isinstance(attention, Attention)
        found.append(attention.probabilities(*inputs[:2]))

    block = backbone.blocks[require_layer(backbone, layer)]
    assert isinstance(block, Block)
    handle = block.attn.register_forward_pre_hook(keep)
    try:
        backbone(images)
    finally:
        handle.remove()
    return found[0]


def draw_attention(image: np.ndarray, cls: np.ndarray, chosen: np.ndarray, patch: tuple[int, int]) -> Figure:
    """Attention maps over an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        cls: attention of the CLS token to the patches, (heads, h, w).
        chosen: that of the chosen patch, (heads, h, w).
        patch: its row and column.
    """
    num_heads, height, width = len(cls), *image.shape[:2]
    figure = new_figure(1.3 * (num_heads + 2), 2.9)
    axes = figure.subplots(2, num_heads + 2, squeeze=False)
    for row, maps, title in zip(axes, (cls, chosen), ('CLS', f'patch {patch[0]}, {patch[1]}'), strict=True):
        row[0].imshow(image)
        row[0].set_title(title, fontsize=8)
        for axis, values, name in zip(
            row[1:], (maps.mean(axis=0), *maps), ('mean', *(f'head {i}' for i in range(num_heads))), strict=True
        ):
            axis.imshow(image, alpha=0.35)
            axis.imshow(values, alpha=0.75, cmap='magma', vmin=0, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
            axis.set_title(name, fontsize=7)
        for axis in row:
            axis.set_axis_off()
    side = height / cls.shape[1]
    corner = (patch[1] * side - 0.5, patch[0] * side - 0.5)
    axes[1, 0].add_patch(Rectangle(corner, side, side, fill=False, edgecolor='red', linewidth=1.5))
    return figure
