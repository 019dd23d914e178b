"""Registries of the scope ``mmbeitv2``, each a direct child of mmengine's root registry.

mmengine resolves ``scope.Type`` by importing ``scope.registry`` and then looking among the root's direct
children, so ``type='mmbeitv2.BEiTv2ViT'`` works from any ``default_scope`` without ``custom_imports``.
"""

from __future__ import annotations

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import STRATEGIES as MMENGINE_STRATEGIES
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import WEIGHT_INITIALIZERS as MMENGINE_WEIGHT_INITIALIZERS
from mmengine.registry import Registry

SCOPE = 'mmbeitv2'


def _child(parent: Registry, location: str) -> Registry:
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=[location])


MODELS = _child(MMENGINE_MODELS, 'mmbeitv2.models')
TRANSFORMS = _child(MMENGINE_TRANSFORMS, 'mmbeitv2.datasets')
DATASETS = _child(MMENGINE_DATASETS, 'mmbeitv2.datasets')
DATA_SAMPLERS = _child(MMENGINE_DATA_SAMPLERS, 'mmbeitv2.datasets')
HOOKS = _child(MMENGINE_HOOKS, 'mmbeitv2.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, 'mmbeitv2.engine')
STRATEGIES = _child(MMENGINE_STRATEGIES, 'mmbeitv2.engine')
METRICS = _child(MMENGINE_METRICS, 'mmbeitv2.evaluation')
WEIGHT_INITIALIZERS = _child(MMENGINE_WEIGHT_INITIALIZERS, 'mmbeitv2.checkpoints')
