"""Pictures of what a pretrained model predicts for masked patches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from torch import Tensor

from mmbeitv2.datasets.resizing import Fit
from mmbeitv2.errors import InputError
from mmbeitv2.inference.channels import channels_of
from mmbeitv2.inference.config import scope_of
from mmbeitv2.inference.loading import load_model
from mmbeitv2.visualization.features import read_image
from mmbeitv2.visualization.pictures import Pictures, code_colors, draw_grid


class MaskedPrediction(NamedTuple):
    """What a pretrained model makes of some images."""

    images: np.ndarray  # (n, H, W, 3) uint8 RGB
    masks: np.ndarray  # (n, h, w) bool
    codes: np.ndarray  # (n, h, w) int, the tokenizer's
    predicted: np.ndarray  # (n, h, w) int, the model's
    colors: np.ndarray  # (K, 3) of the codes
    rebuilt: dict[str, np.ndarray]  # title -> pictures (n, H, W, 3) uint8 of a pixel decoder


def masks_picture(cfg: Config, checkpoint: str, paths: Sequence[str | Path], **settings: Any) -> Figure:
    """Image, mask, true codes and predicted codes of some images; the arguments of :func:`predict_masked`."""
    return draw_masks(predict_masked(cfg, checkpoint, paths, **settings))


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
    """Masks some images, and lets a pretrained model predict the codes.

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


def build_mask_generator(cfg: Config) -> Any:
    """The masks of the config's training pipeline."""
    for step in cfg.train_dataloader.dataset.pipeline:
        with scope_of(cfg):
            transform = TRANSFORMS.build(step)
        if hasattr(transform, 'draw'):
            return transform
    raise InputError(
        f'config {cfg.filename!r} has no mask generator of this package in its training pipeline. Pass a pretraining '
        'config.'
    )


def to_pictures(images: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] -> (B, H, W, 3) uint8."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def masked_columns(seen: MaskedPrediction) -> dict[str, Pictures]:
    """Title -> pictures: images, masked images, true codes, and predicted codes, faded where nothing is masked."""
    side = seen.images.shape[1] // seen.masks.shape[1]
    hidden = np.kron(seen.masks, np.ones((1, side, side), dtype=bool))[..., None]
    guesses, faded = seen.colors[seen.predicted], 0.75 + 0.25 * seen.colors[seen.codes]
    return {
        'image': seen.images,
        'masked': np.where(hidden, 128, seen.images),
        'codes': seen.colors[seen.codes],
        'predicted': np.where(seen.masks[..., None], guesses, faded),
    }


def draw_masks(seen: MaskedPrediction) -> Figure:
    """The columns of :func:`masked_columns` and the rebuilt pictures; hits on masked patches are framed."""
    figure, axes = draw_grid({**masked_columns(seen), **seen.rebuilt})
    for axis, mask, is_hit in zip(axes[:, 3], seen.masks, seen.codes == seen.predicted, strict=True):
        for y, x in np.argwhere(mask & is_hit):
            axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor='black', linewidth=1.5))
        axis.set_title(f'{is_hit[mask].mean():.0%} of {mask.sum()} right', fontsize=8)
    return figure
