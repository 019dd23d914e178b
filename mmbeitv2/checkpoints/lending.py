"""Reads checkpoints in mmengine's place, for the length of a block or for names of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from mmengine.fileio import get_local_path
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader, load_from_ceph, load_from_http, load_from_local

from mmbeitv2.checkpoints.locating import locate
from mmbeitv2.checkpoints.reading import WRAPPERS, read_checkpoint, weights_of
from mmbeitv2.checkpoints.tensors import read_file
from mmbeitv2.checkpoints.zoo import SCHEME, is_published


def load_from_mmbeitv2(name: str, map_location: Any = None) -> Any:
    """What mmengine gets for the name of a checkpoint: a published model under this package's names, whoever published
    it; any other file as it is, with its weights where mmengine looks for them: of others it would load none and go
    on."""
    path = locate(name)
    if str(path) != str(name):
        print_log(f'{name} is read from its local copy {str(path)!r}', logger='current')
    if is_published(name):
        return {'state_dict': read_checkpoint(name).ours}
    content = read_file(path, map_location)
    if isinstance(content, dict) and any(isinstance(content.get(key), dict) for key in WRAPPERS):
        content.setdefault('state_dict', weights_of(content))
    return content


@contextmanager
def loading_tensors_only() -> Iterator[None]:
    """In this block, mmengine loads checkpoints without running any code in them, and also by published names.

    This holds for ``load_from``, ``resume``, ``init_cfg`` of type ``Pretrained`` and ``load_checkpoint``. Loaders that
    a project registered itself are left as they are. At the end, mmengine is as it was. The block holds for all
    threads; those of different threads must not overlap.
    """
    # CheckpointLoader offers no public way to ask for a loader, or to take one away.
    former = dict(CheckpointLoader._schemes)
    lent = dict.fromkeys({SCHEME, 'hf-hub:', 'timm/'} - former.keys(), load_from_mmbeitv2)
    places = {load_from_local: load_from_mmbeitv2, load_from_http: load_from_mmbeitv2, load_from_ceph: load_from_store}
    lent |= {
        prefix: places.get(loader) or _guarded(loader)
        for prefix, loader in former.items()
        if loader.__module__ == load_from_local.__module__  # mmengine's own
    }
    for prefix, loader in lent.items():
        CheckpointLoader.register_scheme(prefix, loader, force=True)
    try:
        yield
    finally:
        for prefix, loader in lent.items():
            if CheckpointLoader._schemes[prefix] is loader:
                CheckpointLoader._schemes.pop(prefix)
                if prefix in former:
                    CheckpointLoader.register_scheme(prefix, former[prefix])


def _guarded(loader: Callable) -> Callable:
    """A loader of one of mmengine's zoos, whose ``torch.load`` reads tensors and plain data only."""
    name = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'

    @wraps(loader)
    def load(*arguments: Any, **options: Any) -> Any:
        former = os.environ.get(name)
        os.environ[name] = '1'
        try:
            return loader(*arguments, **options)
        finally:
            os.environ.pop(name)
            os.environ.update({} if former is None else {name: former})

    return load


def load_from_store(name: str, map_location: Any = None) -> Any:
    """Reads a file of an object store, which mmengine's ``petrel`` backend fetches."""
    with get_local_path(name, backend_args=dict(backend='petrel')) as path:
        return read_file(path, map_location)
