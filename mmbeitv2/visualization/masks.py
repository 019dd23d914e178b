"""Pictures of what a pretrained model predicts for masked patches."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from torch import Tensor

from mmbeitv2.datasets.masking import MaskGenerator
from mmbeitv2.datasets.resizing import Fit
from mmbeitv2.errors import InputError
from mmbeitv2.inference.channels import channels_of
from mmbeitv2.inference.loading import load_model
from mmbeitv2.visualization.features import read_image
from mmbeitv2.visualization.pictures import code_colors, new_figure, show


class MaskedPrediction(NamedTuple):
    """What a pretrained model makes of some images."""

    images: np.ndarray  # (n, H, W, 3) uint8 RGB
    masks: np.ndarray  # (n, h, w) bool
    codes: np.ndarray  # (n, h, w) int, the tokenizer's
    predicted: np.ndarray  # (n, h, w) int, the model's
    colors: np.ndarray  # (K, 3) of the codes
    rebuilt: dict[str, np.ndarray]  # title -> pictures (n, H, W, 3) uint8 of a pixel decoder


def masks_picture(
    cfg: Config,
    checkpoint: str,
    paths: Sequence[str | Path],
    tokenizer: str | None = None,
    pixel_decoder: tuple[Config, str] | None = None,
    seed: int = 0,
    fit: Fit = 'crop',
) -> Figure:
    """Image, mask, true codes and predicted codes of some images.

    Args:
        cfg: of the pretraining.
        checkpoint: its weights.
        paths: image files.
        tokenizer: weights of the tokenizer; None for those that the config names.
        pixel_decoder: config and weights of a pixel decoder, for two more columns: the picture that it makes of the
            true codes, and of the true codes with the predicted ones at the masked patches.
        seed: of the masks.
        fit: how an image gets the model's size, see :class:`VisualTokenizer`.
    """
    return draw_masks(*predict_masked(cfg, checkpoint, paths, tokenizer, pixel_decoder, seed, fit))


@torch.inference_mode()
def predict_masked(
    cfg: Config,
    checkpoint: str,
    paths: Sequence[str | Path],
    tokenizer: str | None = None,
    pixel_decoder: tuple[Config, str] | None = None,
    seed: int = 0,
    fit: Fit = 'crop',
) -> MaskedPrediction:
    """Masks some images, and lets a pretrained model predict the codes; the arguments of :func:`masks_picture`."""
    cfg = deepcopy(cfg)
    if 'tokenizer' not in cfg.model:
        raise InputError(f'config {cfg.filename!r} is not of a pretraining, because its model has no tokenizer')
    if tokenizer is not None:
        cfg.model.tokenizer.init_cfg = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=tokenizer)
    model = load_model(cfg, checkpoint)
    generator = build_mask_generator(cfg)
    random.seed(seed)
    (h, w), side = model.backbone.grid_size, model.backbone.patch_size
    channels = channels_of(cfg)
    images = torch.stack([read_image(path, (h * side, w * side), fit, channels) for path in paths])
    loaded, images = (images.flip(1), images) if channels is None else (images, channels.picture(images))  # BGR
    mask = torch.from_numpy(np.stack([generator.draw().ravel() for _ in paths]))
    batch = model.data_preprocessor({'inputs': loaded, 'mask': mask})['inputs']
    results = model(batch, mode='predict')
    codes = torch.stack([result.codes for result in results]).unflatten(1, (h, w))
    predicted = torch.stack([result.predicted_codes for result in results]).unflatten(1, (h, w))
    masks = mask.unflatten(1, (h, w))
    rebuilt = {}
    if pixel_decoder is not None:
        decoder_cfg = deepcopy(pixel_decoder[0])
        decoder_cfg.model.tokenizer = cfg.model.tokenizer  # the one that made the codes
        decoder = load_model(decoder_cfg, pixel_decoder[1])
        rebuilt['from codes'] = to_pictures(decoder.decode(codes))
        rebuilt['from predicted codes'] = to_pictures(decoder.decode(torch.where(masks, predicted, codes)))
    return MaskedPrediction(
        images.permute(0, 2, 3, 1).numpy(),
        masks.numpy(),
        codes.numpy(),
        predicted.numpy(),
        code_colors(model.tokenizer.module),
        rebuilt,
    )


def build_mask_generator(cfg: Config) -> MaskGenerator:
    """The masks of the config's training pipeline."""
    for step in cfg.train_dataloader.dataset.pipeline:
        transform = TRANSFORMS.build(step)
        if isinstance(transform, MaskGenerator):
            return transform
    raise InputError(
        f'config {cfg.filename!r} has no mask generator of this package in its training pipeline. Pass a pretraining '
        'config.'
    )


def to_pictures(images: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] -> (B, H, W, 3) uint8."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def draw_masks(
    images: np.ndarray,
    masks: np.ndarray,
    codes: np.ndarray,
    predicted: np.ndarray,
    colors: np.ndarray,
    rebuilt: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """Image, masked image, true codes and predicted codes; hits on masked patches are framed.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        masks: (n, h, w) bool.
        codes: (n, h, w) int, the tokenizer's.
        predicted: (n, h, w) int, the model's; shown where masked, else the true code, faded.
        colors: (K, 3) of the codes.
        rebuilt: more columns: title -> pictures (n, H, W, 3) uint8.
    """
    rebuilt = rebuilt or {}
    figure = new_figure(2 * (4 + len(rebuilt)), 2 * len(images))
    axes = figure.subplots(len(images), 4 + len(rebuilt), squeeze=False)
    for i, (row, image, mask, true, guess) in enumerate(zip(axes, images, masks, codes, predicted, strict=True)):
        side = image.shape[0] // mask.shape[0]
        pixels = np.kron(mask, np.ones((side, side), dtype=bool))[..., None]
        true_map, guess_map = colors[true], np.where(mask[..., None], colors[guess], 0.75 + 0.25 * colors[true])
        shown = (image, np.where(pixels, 128, image), true_map, guess_map, *(part[i] for part in rebuilt.values()))
        for axis, picture in zip(row, shown, strict=True):
            show(axis, picture)
        for y, x in np.argwhere(mask & (true == guess)):
            row[3].add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor='black', linewidth=1.5))
        row[3].set_title(f'{(true == guess)[mask].mean():.0%} of {mask.sum()} right', fontsize=8)
    titles = dict(enumerate(('image', 'masked', 'codes'))) | dict(enumerate(rebuilt, start=4))
    for column, title in titles.items():
        axes[0, column].set_title(title, fontsize=8)
    return figure
