"""Finds the local file for the name of a checkpoint: a path, an address, or a name in a model zoo."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader

from mmbeitv2.checkpoints.downloading import download, download_from_hub
from mmbeitv2.checkpoints.zoo import describe_model, is_published, list_models
from mmbeitv2.errors import InputError

_WEIGHT_SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors', '.pkl', '.tar')


def locate(name: str | Path) -> Path:
    """The local file for the name of a checkpoint, downloaded at first use.

    Args:
        name: in this order: a path that exists; a name of the zoo (:func:`mmbeitv2.apis.list_models`), with or without
            ``mmbeitv2://``; ``http://`` or ``https://``; ``hf-hub:owner/name`` or ``hf-hub:owner/name/file``;
            ``timm/name``, a model of timm with or without its tag; else a path.

    Raises:
        InputError: if the file cannot be found or downloaded. Whoever reads the file checks whether a path exists.
    """
    name = str(name)
    if os.path.exists(name):
        return Path(name)
    if is_published(name):
        return download(describe_model(name).weights)
    if name.startswith('hf-hub:'):
        parts = name.removeprefix('hf-hub:').split('/')
        return download_from_hub('/'.join(parts[:2]), '/'.join(parts[2:]) or None)
    if name.startswith('timm/') and Path(name).suffix not in _WEIGHT_SUFFIXES:
        return _locate_in_timm(name)
    scheme, separator, _ = name.partition('://')
    if not separator:
        # A name without a folder and an ending that nearly is one of the zoo's was not meant as a path.
        is_path = '/' in name or Path(name).suffix in _WEIGHT_SUFFIXES
        if not is_path and (near := get_close_matches(name, list_models(), 1, cutoff=0.85)):
            raise InputError(f'there is neither a file nor a published model {name!r}. Did you mean {near[0]!r}?')
        return Path(name)
    if scheme in ('http', 'https'):
        return download(name)
    raise InputError(f'checkpoint {name!r}: {scheme}:// cannot be read. Download the file and pass its path.')


def projects_loader(name: str) -> Callable | None:
    """The loader of a scheme that a project registered in mmengine's ``CheckpointLoader``; None for a file, and for
    names that mmengine or this package reads."""
    loader = CheckpointLoader._get_checkpoint_loader(name)  # there is no public way to ask
    is_known = loader.__module__.startswith(('mmengine.', 'mmbeitv2.', 'mmpretrain.'))
    return None if is_known or os.path.exists(name) or is_published(name) else loader


def _locate_in_timm(name: str) -> Path:
    import timm

    variant = name.removeprefix('timm/')
    arch, _, tag = variant.partition('.')
    tags = timm.list_pretrained(arch) if timm.is_model(arch) else []
    if not tags or (tag and variant not in tags):
        near = tags or get_close_matches(arch, timm.list_models(), 3)
        remedy = f'Did you mean {" or ".join(f"timm/{found}" for found in near)}?' if near else 'Check the spelling.'
        raise InputError(f'timm has no pretrained model {variant!r}. {remedy}')
    cfg: Any = timm.get_pretrained_cfg(variant)
    return download_from_hub(cfg.hf_hub_id, cfg.hf_hub_filename) if cfg.hf_hub_id else download(cfg.url)
