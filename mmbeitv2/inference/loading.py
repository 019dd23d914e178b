"""Loads a model from a config and a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmbeitv2.checkpoints import PretrainedBEiTv2, load_exactly, read_checkpoint
from mmbeitv2.errors import InputError
from mmbeitv2.inference.config import merge_options, read_config

Part = Literal['model', 'backbone', 'tokenizer']
_PARTS = {
    'backbone': ('mmbeitv2.BEiTv2ViT',),
    'tokenizer': ('mmbeitv2.VQKD', 'mmbeitv2.KMeansTokenizer', 'mmbeitv2.DALLETokenizer'),
}
# Tokenizers that rebuild or cluster the features of a teacher.
_TAUGHT = ('mmbeitv2.VQKD', 'mmbeitv2.KMeansTokenizer')


def load_model(
    config: str | Path | Config,
    checkpoint: str | Path | None,
    part: Part = 'model',
    of: str | None = None,
    cfg_options: Sequence[str] | dict | None = None,
    device: str | torch.device | None = None,
) -> Any:
    """Builds a model, or a part of it, with the weights of a checkpoint, in eval mode.

    Args:
        config: a config file, or its content, which is not changed.
        checkpoint: the weights. For the whole model, a checkpoint of this very model; for a part, any file that
            :class:`mmbeitv2.PretrainedBEiTv2` reads. None keeps the initial weights and loads nothing.
        part: ``'model'`` for the whole model, ``'backbone'``, or ``'tokenizer'``: the tokenizer of a pretraining
            config, or the model itself if it is a tokenizer. A VQKD is built without its teacher, which it only needs
            for training.
        of: type that the model must have, for example ``'mmbeitv2.BEiTv2'``; None for any.
        cfg_options: settings that override the config's, see :func:`read_config`.
        device: where to put it; None for the CPU.

    Raises:
        InputError: if the config has no such part, the checkpoint does not fit it, or the device cannot be used.
    """
    place = usable_device(device or 'cpu')
    cfg = deepcopy(config) if isinstance(config, Config) else read_config(str(config))
    cfg = merge_options(cfg, cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    settings = _settings_of(cfg, part, of)
    if checkpoint is None:
        model = MODELS.build(_without_weights(settings))
    elif part == 'model':
        model = MODELS.build(settings)
        load_exactly(model, str(checkpoint))
    else:
        model = _load_part(settings, str(checkpoint))
    model.to(place).eval()  # returns None for some of mmpretrain's backbones
    return model


def usable_device(device: str | int | torch.device) -> torch.device:
    """Checks that a device can be used.

    Raises:
        InputError: if this machine has no such device, or torch was built without support for it.
    """
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, TypeError, AssertionError) as error:  # the last is CUDA's, where torch was built without
        reason = str(error).partition('\n')[0].rstrip('.')
        raise InputError(
            f'device {str(device)!r} cannot be used ({reason}). Use cpu, or a GPU of this machine.'
        ) from error
    return chosen


def _settings_of(cfg: Config, part: Part, of: str | None) -> dict:
    """The settings of a part of the model."""
    model = cfg.get('model') or {}
    config = f'config {cfg.filename!r}' if cfg.filename else 'the config'
    if of is not None and model.get('type') != of:
        raise InputError(
            f'{config} defines a model of type {model.get("type")}. Pass a config with a model of type {of}.'
        )
    if part == 'model':
        return model
    wanted = _PARTS[part]
    settings = model if model.get('type') in wanted else model.get(part)
    if not isinstance(settings, dict) or settings.get('type') not in wanted:
        raise InputError(f'{config} has no {part} of type {" or ".join(wanted)}. Pass a config that has one.')
    return settings


def _load_part(settings: dict, checkpoint: str) -> nn.Module:
    if settings['type'] == 'mmbeitv2.DALLETokenizer':
        model = MODELS.build({**settings, 'init_cfg': dict(type='Pretrained', checkpoint=checkpoint)})
        model.init_weights()
        return model
    file = read_checkpoint(checkpoint)
    settings = {**settings, 'init_cfg': None}
    if settings['type'] == 'mmbeitv2.VQKD':  # the teacher's width is seen from the layer that rebuilds its features
        last = file.state.get('decode_task_layer.2.weight')
        settings |= dict(teacher=None, target_dims=len(last) if last is not None and last.ndim else 1)
    model = MODELS.build(settings)
    model.load_state_dict(PretrainedBEiTv2(checkpoint).state_for(model, file), strict=False)
    return model


def _without_weights(settings: dict) -> dict:
    """The settings of a model with nothing to load: no checkpoints, and no teacher."""
    if settings.get('type') in _TAUGHT:
        settings = {**settings, 'teacher': None, 'target_dims': settings.get('target_dims') or 512}
    return {
        key: _without_weights(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key != 'init_cfg'
    }
