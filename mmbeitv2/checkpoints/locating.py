"""Finds the local file for the name of a checkpoint: a path, an address, or a name in a model zoo."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial, wraps
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.fileio import get_file_backend
from mmengine.logging import print_log
from mmengine.runner.checkpoint import (
    CheckpointLoader,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
    load_from_ceph,
    load_from_local,
)

from mmbeitv2.checkpoints.downloading import download, download_from_hub
from mmbeitv2.checkpoints.tensors import read_file
from mmbeitv2.checkpoints.zoo import SCHEME, describe_model, is_published, list_models
from mmbeitv2.errors import InputError

_ZOOS = {
    'torchvision': get_torchvision_models,
    'modelzoo': get_torchvision_models,
    'open-mmlab': get_external_models,
    'openmmlab': get_external_models,
    'mmcls': get_mmcls_models,
}
_WEIGHT_SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors', '.pkl', '.tar')


def locate(name: str | Path) -> Path:
    """The local file for the name of a checkpoint, downloaded at first use.

    Args:
        name: in this order: a path that exists; a name of the zoo (:func:`mmbeitv2.apis.list_models`), with or without
            ``mmbeitv2://``; ``http://`` or ``https://``; ``hf-hub:owner/name`` or ``hf-hub:owner/name/file``;
            ``timm/name``, a model of timm with or without its tag; OpenMMLab's ``torchvision://``, ``open-mmlab://``,
            ``mmcls://``; else a path.

    Raises:
        InputError: if the file cannot be found or downloaded. :func:`read_file` checks whether a path exists.
    """
    name = str(name)
    if os.path.exists(name):
        return Path(name)
    if is_published(name):
        model = describe_model(name)
        return download(model.weights, model.sha256)
    if name.startswith('hf-hub:'):
        return _locate_on_hub(name)
    if name.startswith('timm/') and Path(name).suffix not in _WEIGHT_SUFFIXES:
        return _locate_in_timm(name)
    scheme, separator, rest = name.partition('://')
    if not separator:
        _refuse_misspelled(name)
        return Path(name)
    if scheme in ('http', 'https'):
        return download(name)
    if scheme not in _ZOOS:
        raise InputError(f'checkpoint {name!r}: {scheme}:// cannot be read. Download the file and pass its path.')
    models = _ZOOS[scheme]()
    rest = get_deprecated_model_names().get(rest, rest)
    if rest not in models:
        raise InputError(f'{scheme}:// has no model {rest!r}. Check the spelling, or pass the path of a file.')
    return locate(models[rest])


def _locate_on_hub(name: str) -> Path:
    parts = name.removeprefix('hf-hub:').split('/')
    if len(parts) < 2 or not all(parts):
        raise InputError(
            f'checkpoint {name!r} is not complete. Write a Hugging Face repository as hf-hub:owner/name or '
            'hf-hub:owner/name/file.'
        )
    return download_from_hub('/'.join(parts[:2]), '/'.join(parts[2:]) or None)


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


def _refuse_misspelled(name: str) -> None:
    """A name without a folder and an ending that nearly is one of the zoo's was not meant as a path."""
    if '/' not in name and Path(name).suffix not in _WEIGHT_SUFFIXES:
        near = get_close_matches(name, list_models(), 1, cutoff=0.85)
        if near:
            raise InputError(f'there is neither a file nor a published model {name!r}. Did you mean {near[0]!r}?')


def read_for_mmengine(name: str, map_location: Any = None) -> Any:
    """What mmengine gets for the name of a checkpoint: a published model under this package's names, whoever published
    it; any other file as it is."""
    path = locate(name)
    if str(path) != str(name):
        print_log(f'{name} is the file {str(path)!r}', logger='current')
    if is_published(name):
        from mmbeitv2.checkpoints.reading import read_checkpoint  # which imports this module

        return {'state_dict': read_checkpoint(name).ours}
    content = read_file(path, map_location)
    if name.startswith('mmcls://'):  # whole classifiers, asked for as a backbone
        state = content.get('state_dict', content)
        content = {'state_dict': {key[9:]: value for key, value in state.items() if key.startswith('backbone.')}}
    return content


@contextmanager
def loading_tensors_only() -> Iterator[None]:
    """In this block, mmengine loads checkpoints without running any code in them, and also by published names.

    This holds for ``load_from``, ``resume``, ``init_cfg`` of type ``Pretrained`` and ``load_checkpoint``. Loaders that
    a project registered itself are left as they are. At the end, mmengine is as it was.
    """
    former = dict(CheckpointLoader._schemes)
    lent: dict[str, Callable] = {}
    for prefix, loader in {**dict.fromkeys((SCHEME, 'hf-hub:', 'timm/'), load_from_local), **former}.items():
        if loader.__module__ == load_from_local.__module__:  # mmengine's own
            read = _read_from_store if loader is load_from_ceph else read_for_mmengine
            lent[prefix] = wraps(loader)(partial(read))  # wrapped for mmengine's log, which says the loader's name
            CheckpointLoader.register_scheme(prefix, lent[prefix], force=True)
    try:
        yield
    finally:
        kept = {prefix: own for prefix, own in CheckpointLoader._schemes.items() if own is not lent.get(prefix)}
        CheckpointLoader._schemes = {}  # to be sorted in anew
        for prefix, loader in {**former, **kept}.items():
            CheckpointLoader.register_scheme(prefix, loader, force=True)


def _read_from_store(name: str, map_location: Any = None) -> Any:
    """Reads a file of an object store, which mmengine's ``petrel`` backend fetches."""
    content = get_file_backend(name, backend_args=dict(backend='petrel')).get(name)
    with TemporaryDirectory() as folder:
        file = Path(folder, PurePosixPath(name).name)
        file.write_bytes(content)
        return read_file(file, map_location)
