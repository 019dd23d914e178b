"""Loads a model from a config and a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from mmbeitv2.backbones import merge_lora
from mmbeitv2.checkpoints import PretrainedBEiTv2, loading_tensors_only, read_checkpoint, require_fit
from mmbeitv2.checkpoints.reading import require_same_frozen
from mmbeitv2.errors import InputError
from mmbeitv2.inference.config import merge_options, read_config, scope_of

Part = Literal['model', 'backbone', 'tokenizer']
# What a part offers, by which it is known.
_OFFERS = {'model': 'forward', 'backbone': 'forward', 'tokenizer': 'tokenize'}


def load_model(
    config: str | Path | Config,
    checkpoint: str | Path | None,
    part: Part = 'model',
    cfg_options: Sequence[str] | dict | None = None,
    device: str | torch.device | None = None,
) -> Any:
    """Builds a model, or a part of it, with the weights of a checkpoint, in eval mode. LoRA layers are merged.

    Args:
        config: a config file, or its content, which is not changed.
        checkpoint: the weights. For the whole model, a checkpoint of this very model; for a part, any file that
            :class:`mmbeitv2.PretrainedBEiTv2` reads. None keeps the initial weights and loads nothing.
        part: ``'model'`` for the whole model; ``'backbone'`` or ``'tokenizer'`` for this part of it, or for the model
            itself if it is one. A tokenizer with an encoder of its own is built without its teacher, which it only
            needs for training.
        cfg_options: settings that override the config's, see :func:`read_config`.
        device: where to put it; None for the CPU.

    Raises:
        InputError: if the config has no such part, the checkpoint does not fit it, or the device cannot be used.
    """
    place = usable_device(device or 'cpu')
    cfg = deepcopy(config) if isinstance(config, Config) else read_config(str(config))
    cfg = merge_options(cfg, cfg_options)
    if part == 'model' and cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)  # as mmengine's Runner does
    settings = cfg.model if part == 'model' else cfg.model.get(part, cfg.model)
    file = None if checkpoint is None else read_checkpoint(str(checkpoint))
    if file is None:
        settings = _without_weights(settings)
    elif part != 'model':
        settings = {key: value for key, value in settings.items() if key != 'init_cfg'}
        if (last := file.state.get('decode_task_layer.2.weight')) is not None:  # of VQ-KD: it has the teacher's width
            settings = _without_weights(settings, last.shape[:1].numel())
    with scope_of(cfg), loading_tensors_only():  # a LoRAModel loads the weights under its layers as it is built
        model = MODELS.build(settings)
    if not hasattr(model, _OFFERS[part]):
        named = f'config {cfg.filename!r}' if cfg.filename else 'the config'
        raise InputError(f'{named} has no {part}: its model is a {type(model).__name__}. Pass a config that has one.')
    if file is None or not file.is_lora:  # the weights may have been merged already
        model = merge_lora(model)
    if file is not None and part == 'model':
        model.load_state_dict(require_fit(model, file), strict=False)
    elif file is not None:
        model.load_state_dict(PretrainedBEiTv2(str(checkpoint)).state_for(model, file), strict=False)
        require_same_frozen(nn.ModuleDict({part: model}), file)
    model = merge_lora(model)
    model.to(place).eval()  # which returns None for some of mmpretrain's backbones
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


def pad_whole_images(model: nn.Module) -> None:
    """Lets mmseg's preprocessor pad images to whole patches, as it cuts the padding off again.

    Where the backbone pads by itself, mmseg stretches the logits of the padded image to the size of the image.
    """
    for module in model.modules():  # the segmentor, which may be wrapped
        backbone, preprocessor = (getattr(module, name, None) for name in ('backbone', 'data_preprocessor'))
        is_whole = (getattr(module, 'test_cfg', None) or {}).get('mode') == 'whole'
        if not is_whole or preprocessor is None or preprocessor.test_cfg is not None:
            continue
        if backbone is not None and hasattr(backbone, 'resize_positions'):  # a ViT of this package
            preprocessor.test_cfg = dict(size_divisor=backbone.patch_size)


def _without_weights(settings: dict, target_dims: int = 512) -> dict:
    """The settings of a model with nothing to load: no checkpoints, and no teacher."""
    if settings.get('teacher') is not None:
        settings = {**settings, 'teacher': None, 'target_dims': settings.get('target_dims') or target_dims}
    return {
        key: _without_weights(value, target_dims) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key != 'init_cfg'
    }
