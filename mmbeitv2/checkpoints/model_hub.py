"""Makes the published models known to mmpretrain: its ``list_models``, ``get_model`` and inferencers accept their
names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader
from mmpretrain.apis import ModelHub

import mmbeitv2
from mmbeitv2.checkpoints.lending import load_from_mmbeitv2
from mmbeitv2.checkpoints.zoo import SCHEME, describe_model, list_models


def load_from_hub(name: str, map_location: Any = None) -> Any:
    """Reads a published model; not the loader that a block lends, which ends with it."""
    return load_from_mmbeitv2(name, map_location)


def register_published_models() -> None:
    """Enters the zoo into mmpretrain's ``ModelHub``, once, except for the segmentors, which mmpretrain cannot build.

    Their weights are entered as ``mmbeitv2://name``, which mmengine then loads under this package's names; other
    checkpoints are loaded as before.
    """
    names = list_models()
    if ModelHub.has(names[0]):
        return
    CheckpointLoader.register_scheme(SCHEME, load_from_hub, force=True)
    ModelHub.register_model_index(Path(mmbeitv2.FILES, 'model-index.yml'), config_prefix=mmbeitv2.FILES)
    for name in names:
        if Path(describe_model(name).config).parent.name == 'segmentation':
            ModelHub._models_dict.pop(name)
        else:
            ModelHub._models_dict[name].data['Weights'] = SCHEME + name
