"""Loads the backbone of any config, and images in the form that it needs, for pictures of features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor

from mmbeitv2.datasets.resizing import Fit, fit_image
from mmbeitv2.errors import InputError
from mmbeitv2.inference.channels import Channels, channels_of, is_tokenizer, normalization_of
from mmbeitv2.inference.loading import load_model
from mmbeitv2.inference.visual_tokenizer import to_tensor


def load_backbone(cfg: Config, checkpoint: str, device: str | None = None) -> Any:
    """The backbone of a pretraining, classification or segmentation, or the encoder of a tokenizer, in eval mode.

    Args:
        cfg: of any of them.
        checkpoint: a file that :class:`PretrainedBEiTv2` reads.
        device: where to put it; None for the CPU.

    Raises:
        InputError: see :func:`load_model`; or if the tokenizer has no encoder of its own.
    """
    if not is_tokenizer(cfg):
        return load_model(cfg, checkpoint, 'backbone', device=device)
    tokenizer = load_model(cfg, checkpoint, 'tokenizer', device=device)
    if not hasattr(tokenizer, 'encoder'):
        raise InputError(f'the tokenizer of {cfg.filename!r} has no encoder of its own to look into')
    return tokenizer.encoder


def read_image(path: str | Path, size: tuple[int, int], fit: Fit, channels: Channels | None = None) -> Tensor:
    """An image file at a size (height, width) as (3, H, W) uint8 RGB, or (C, H, W) with its channels."""
    return fit_image(to_tensor(path) if channels is None else channels.read(path), size, fit)


def normalize(images: Tensor, cfg: Config) -> Tensor:
    """Images (..., C, H, W) of :func:`read_image`, normalized as by a config's data preprocessor."""
    mean, std, is_rgb = normalization_of(cfg)
    is_turned = is_rgb == (channels_of(cfg) is not None)  # channels are read as they are loaded, RGB is not
    return ((images.flip(-3) if is_turned else images).float() - mean) / std
