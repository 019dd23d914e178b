"""From the name of a checkpoint (a path, an address, a name in a model zoo) to a file on this machine.

Importing this module makes mmengine load through it as well, whatever asks for the checkpoint: ``load_from``,
``resume``, an ``init_cfg`` of type ``Pretrained``, of this package or of any other.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_rank
from mmengine.runner.checkpoint import (
    CheckpointLoader,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)

from mmbeitv2.errors import InputError

from .tensors import read_file

_ZOOS = {
    'torchvision': get_torchvision_models,
    'modelzoo': get_torchvision_models,
    'open-mmlab': get_external_models,
    'openmmlab': get_external_models,
    'mmcls': get_mmcls_models,
}


def locate(name: str | Path) -> Path:
    """The local file that a name of a checkpoint stands for; downloaded at first use if it is an address.

    Args:
        name: a path; ``http://`` or ``https://``; or OpenMMLab's ``torchvision://``, ``open-mmlab://``, ``mmcls://``.

    Raises:
        InputError: if there is no way to the file. Whether a path exists is left to :func:`read_file`.
    """
    scheme, separator, rest = str(name).partition('://')
    if not separator:
        return Path(name)
    if scheme in ('http', 'https'):
        return _download(str(name))
    if scheme not in _ZOOS:
        raise InputError(f'checkpoint {str(name)!r}: {scheme}:// cannot be read: download the file and give its path')
    models = _ZOOS[scheme]()
    rest = get_deprecated_model_names().get(rest, rest)
    if rest not in models:
        raise InputError(f'{scheme}:// has no model {rest!r}: check its spelling, or give the path of a file')
    return locate(models[rest])


def _download(url: str) -> Path:
    """Downloads into torch's cache, by the first process of each machine."""
    path = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlparse(url).path).name
    if not path.exists() and int(os.environ.get('LOCAL_RANK', get_rank())) == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        hash_prefix = re.search(r'-([a-f0-9]{8,})\.', path.name)  # OpenMMLab and torch name files by their hash
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix[1] if hash_prefix else None, progress=False)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f'{url} cannot be downloaded ({error}): download it elsewhere and give the path of the file'
            ) from error
    barrier()
    return path


# All that mmengine itself registers; '' is a path.
_PREFIXES = (
    *('', 'http://', 'https://', 'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://'),
    *(f'{zoo}://' for zoo in _ZOOS),
)


@CheckpointLoader.register_scheme(_PREFIXES, force=True)
def load_from_file(filename: str, map_location: object = None) -> Any:
    """Loads for mmengine."""
    content = read_file(locate(filename), map_location)
    if isinstance(content, dict) and isinstance(content.get('meta'), dict):
        content['meta'].pop('config', None)  # mmengine would run its text when it resumes
    if filename.startswith('mmcls://'):  # whole classifiers, asked for as a backbone
        state = content.get('state_dict', content)
        content = {'state_dict': {key[9:]: value for key, value in state.items() if key.startswith('backbone.')}}
    return content
