"""Makes the published models known to mmpretrain: its ``list_models``, ``get_model`` and inferencers accept their
names."""

from __future__ import annotations

from pathlib import Path

from mmpretrain.apis import ModelHub

import mmbeitv2
from mmbeitv2.checkpoints.zoo import SCHEME, list_models


def register_published_models() -> None:
    """Enters the zoo into mmpretrain's ``ModelHub``, once.

    Their weights are entered by model name, so that they are converted to this package's names when they are loaded.
    """
    names = list_models()
    if ModelHub.has(names[0]):
        return
    ModelHub.register_model_index(Path(mmbeitv2.FILES, 'model-index.yml'), config_prefix=mmbeitv2.FILES)
    for name in names:
        ModelHub._models_dict[name].data['Weights'] = SCHEME + name
