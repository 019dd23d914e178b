"""Registries of the scope ``mmbeitv2``, each a direct child of mmengine's root registry.

mmengine resolves ``scope.Type`` by importing ``scope.registry`` and then looking among the root's direct
children, so ``type='mmbeitv2.BEiTv2ViT'`` works from any ``default_scope`` without ``custom_imports``.
"""

from __future__ import annotations

from mmengine import registry as root
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import DefaultScope, Registry

SCOPE = 'mmbeitv2'
# mmengine's table of the packages whose configs can be inherited: `_base_ = 'mmbeitv2::classification/...'`.
MODULE2PACKAGE.setdefault(SCOPE, SCOPE)


class _Registry(Registry):
    """Finds types without a scope in the config's default scope, too.

    In a config that was inherited by ``_base_ = 'mmbeitv2::...'``, mmengine marks every setting with this package's
    scope and looks up all types there; but those of our configs without a scope are mmpretrain's or mmseg's. Names that
    both have mean ours there (``LoadImageFromFile``, ``LoadAnnotations``); ``mmseg.LoadAnnotations`` means mmseg's.
    """

    def get(self, key: str) -> type | None:
        default_scope = _default_scope_of_the_config()
        if default_scope is not None and '.' not in key:
            self.import_from_location()
            if key not in self.module_dict:
                return super().get(f'{default_scope}.{key}')
        return super().get(key)


def _default_scope_of_the_config() -> str | None:
    """The scope that was in force before mmengine changed to this package's; None if it has not changed."""
    scopes = [instance.scope_name for instance in DefaultScope._instance_dict.values()]
    if not scopes or scopes[-1] != SCOPE:
        return None
    return next((scope for scope in reversed(scopes) if scope != SCOPE), None)


def child_of(parent: Registry, *locations: str) -> Registry:
    """This package's registry below one of mmengine or mmpretrain."""
    return _Registry(parent.name, parent=parent, scope=SCOPE, locations=list(locations))


_MODEL_ROOMS = ('backbones', 'teachers', 'tokenizers', 'pretraining', 'segmentation')
MODELS = child_of(root.MODELS, *(f'mmbeitv2.{room}' for room in _MODEL_ROOMS))
TRANSFORMS = child_of(root.TRANSFORMS, 'mmbeitv2.datasets', 'mmbeitv2.segmentation')
DATASETS = child_of(root.DATASETS, 'mmbeitv2.datasets', 'mmbeitv2.segmentation')
DATA_SAMPLERS = child_of(root.DATA_SAMPLERS, 'mmbeitv2.datasets')
FUNCTIONS = child_of(root.FUNCTIONS, 'mmbeitv2.datasets')
HOOKS = child_of(root.HOOKS, 'mmbeitv2.engine')
OPTIMIZERS = child_of(root.OPTIMIZERS, 'mmbeitv2.engine')
OPTIM_WRAPPER_CONSTRUCTORS = child_of(root.OPTIM_WRAPPER_CONSTRUCTORS, 'mmbeitv2.engine')
STRATEGIES = child_of(root.STRATEGIES, 'mmbeitv2.engine')
METRICS = child_of(root.METRICS, 'mmbeitv2.evaluation')
WEIGHT_INITIALIZERS = child_of(root.WEIGHT_INITIALIZERS, 'mmbeitv2.checkpoints')
# Empty ones of the other kinds, so that their types are found from this scope as well.
for _parent in vars(root).values():
    if isinstance(_parent, Registry) and SCOPE not in _parent.children:
        child_of(_parent, 'mmbeitv2.registry')  # without a place mmengine would look for mmbeitv2.utils
