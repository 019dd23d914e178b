"""The three principal components of a backbone's patch features as colors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from torch import Tensor, nn
from tqdm import tqdm

from mmbeitv2.datasets.resizing import Fit
from mmbeitv2.errors import InputError
from mmbeitv2.evaluation.probing import require_layer
from mmbeitv2.inference.channels import channels_of
from mmbeitv2.visualization.features import load_backbone, normalize, read_image
from mmbeitv2.visualization.pictures import draw_grid, principal_colors


def patch_pca_picture(
    models: Sequence[tuple[str, Config, str]],
    paths: Sequence[str | Path],
    layers: Sequence[int],
    side: int | None = None,
    fit: Fit = 'crop',
    device: str | None = None,
) -> Figure:
    """Images in rows, and beside each its patches, a column for each checkpoint and layer.

    Args:
        models: name, config and checkpoint of each model, whose backbone or encoder is meant.
        paths: image files.
        layers: blocks, counted from 0; negative ones count from the last.
        side: of the images in pixels, to which positions are resized; None for the size that each config names.
        fit: how an image becomes a square, see :class:`VisualTokenizer`.
        device: where to run; None for the GPU if there is one.

    Raises:
        InputError: if a checkpoint does not fit its config, a layer does not exist, or an image cannot be read.
    """
    place = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    columns: dict[str, np.ndarray] = {}
    shown = torch.empty(0, 3, 0, 0)
    for name, cfg, checkpoint in models:
        backbone = load_backbone(cfg, checkpoint, place)
        numbers = [require_layer(backbone, layer) for layer in layers]
        patch = backbone.patch_size
        if side is not None and side % patch:
            raise InputError(
                f'size {side} is not a multiple of the patch size {patch}. Try {-(-side // patch) * patch}'
            )
        size = (backbone.grid_size[0] * patch, backbone.grid_size[1] * patch) if side is None else (side, side)
        channels = channels_of(cfg)
        images = torch.stack([read_image(path, size, fit, channels) for path in paths])
        pictures = images if channels is None else channels.picture(images)
        shown = max(shown, pictures, key=lambda each: each.shape[2])
        features = patch_features(backbone, normalize(images, cfg), numbers)
        for number in numbers:
            colors, share = principal_colors(features[number])
            columns[f'{name}\nlayer {number}, {share:.0%} of the variance'] = colors
    return draw_grid({'': shown.permute(0, 2, 3, 1).numpy(), **columns})[0]


@torch.inference_mode()
def patch_features(backbone: Any, images: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
    """Patch tokens behind some blocks, each (n, h, w, C) on the CPU; behind the last with its norm, if it has one.

    Args:
        backbone: in eval mode, with ``blocks`` of tokens (B, 1+N, C).
        images: (n, 3, H, W), normalized.
        layers: blocks, counted from 0.
    """
    place = next(backbone.parameters()).device
    grid = tuple(side // backbone.patch_size for side in images.shape[-2:])
    norms = [getattr(backbone, name, None) for name in ('norm', 'fc_norm')]
    found: dict[int, list[Tensor]] = {number: [] for number in layers}

    def keep(number: int, tokens: Tensor) -> None:
        if number == len(backbone.blocks) - 1:
            tokens = next((norm for norm in norms if norm is not None), nn.Identity())(tokens)
        found[number].append(tokens[:, -math.prod(grid) :].unflatten(1, grid).float().cpu())

    handles = [
        backbone.blocks[number].register_forward_hook(lambda _, __, tokens, number=number: keep(number, tokens))
        for number in found
    ]
    for image in tqdm(images, unit='image'):  # one at a time: attention of large images needs much memory
        backbone(image[None].to(place))
    for handle in handles:
        handle.remove()
    return {number: torch.cat(rows) for number, rows in found.items()}
