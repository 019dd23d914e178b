"""Finds the local file for the name of a checkpoint: a path, an address, or a name in a model zoo."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

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
            ``timm/name.tag``, a model of timm; else a path.

    Raises:
        InputError: if the file cannot be found or downloaded. Whoever reads the file checks whether a path exists.
    """
    name = str(name)
    if os.path.exists(name):
        return Path(name)
    if is_published(name):
        return download(describe_model(name).weights)
    if name.startswith('timm/') and Path(name).suffix not in _WEIGHT_SUFFIXES:
        name = f'hf-hub:{name}'
    if name.startswith('hf-hub:'):
        parts = name.removeprefix('hf-hub:').split('/')
        return download_from_hub('/'.join(parts[:2]), '/'.join(parts[2:]) or None)
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
