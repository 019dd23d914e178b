"""Loads the backbone of any config, and images in the form that it needs, for pictures of features."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.errors import InputError
from mmbeitv2.inference.channels import Channels
from mmbeitv2.inference.loading import load_model
from mmbeitv2.inference.visual_tokenizer import Fit, fit_image, to_tensor


def load_backbone(cfg: Config, checkpoint: str, device: str | None = None) -> BEiTv2ViT:
    """The backbone of a pretraining, classification or segmentation, or the encoder of a tokenizer, in eval mode.

    Args:
        cfg: of any of them.
        checkpoint: a file that :class:`PretrainedBEiTv2` reads.
        device: where to put it; None for the CPU.

    Raises:
        InputError: see :func:`load_model`.
    """
    if cfg.model.get('type') == 'mmbeitv2.VQKD':
        return load_model(cfg, checkpoint, 'tokenizer', device=device).encoder
    return load_model(cfg, checkpoint, 'backbone', device=device)


def require_layer(backbone: BEiTv2ViT, layer: int) -> int:
    """The number of a block, counted from 0.

    Args:
        backbone: that has it.
        layer: counted from 0; negative ones count from the last.

    Raises:
        InputError: if there is no such block.
    """
    if not -backbone.depth <= layer < backbone.depth:
        raise InputError(f'layer {layer} does not exist: the backbone has {backbone.depth} blocks, counted from 0')
    return layer % backbone.depth


def read_image(path: str | Path, size: tuple[int, int], fit: Fit, channels: Channels | None = None) -> Tensor:
    """An image file as (3, H, W) uint8 RGB, or (C, H, W) with its channels.

    Args:
        path: of the file.
        size: height and width.
        fit: how the image gets this size, see :class:`VisualTokenizer`.
        channels: see :func:`channels_of`.
    """
    return fit_image(to_tensor(path) if channels is None else channels.read(path), size, fit)


def normalize(images: Tensor, cfg: Config) -> Tensor:
    """Images (..., C, H, W) of :func:`read_image`, normalized as by a config's data preprocessor."""
    settings = {**(cfg.model.get('data_preprocessor') or {}), **(cfg.get('data_preprocessor') or {})}
    mean = torch.tensor(settings.get('mean', (123.675, 116.28, 103.53))).view(-1, 1, 1)
    std = torch.tensor(settings.get('std', (58.395, 57.12, 57.375))).view(-1, 1, 1)
    return (images.float() - mean) / std
