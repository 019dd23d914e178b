"""Parameter groups: weight decay by the shape of a parameter, learning rate by its depth."""

from __future__ import annotations

from collections import defaultdict

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmbeitv2.errors import InputError
from mmbeitv2.registry import OPTIM_WRAPPER_CONSTRUCTORS

_NO_DECAY_TOKENS = ('cls_token', 'pos_embed')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise lr decay for any model whose ``backbone`` has ``get_layer_depth`` (paper, tables 10 and 11).

    The learning rate of depth d of D is multiplied by ``layer_decay_rate ** (D - 1 - d)``; heads and necks have the
    full learning rate. Weight decay applies to all parameters with more than one dimension except ``cls_token`` and
    ``pos_embed``. Parameters with the same learning rate and weight decay form one group, so that a fused optimizer
    launches few kernels.

    In a config: ``optim_wrapper=dict(constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.65))``; without the rate, or with 1, it only separates parameters by weight
    decay (pretraining). ``custom_keys`` is that of mmengine's ``DefaultOptimWrapperConstructor``: of the keys that are
    part of a parameter's name, the longest one counts. Its ``lr_mult`` multiplies the learning rate of the layer, its
    ``decay_mult`` replaces the rule above; without ``decay_mult`` the rule stays.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        # Without any paramwise_cfg, mmengine would not ask add_params at all.
        super().__init__(optim_wrapper_cfg, paramwise_cfg or {'layer_decay_rate': 1.0})

    def _validate_cfg(self) -> None:
        known = ('layer_decay_rate', 'custom_keys')
        unknown = sorted(set(self.paramwise_cfg) - set(known))
        if unknown:
            raise InputError(f'paramwise_cfg has the unknown key {unknown[0]}. Choose from {", ".join(known)}.')
        rate = self.paramwise_cfg.get('layer_decay_rate', 1.0)
        if not 0 < rate <= 1:
            raise InputError(f'layer_decay_rate={rate} must lie in (0, 1]')
        if self.base_lr is None:
            raise InputError('layer-wise decay needs a learning rate. Set optim_wrapper.optimizer.lr.')

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: object) -> None:
        rate = self.paramwise_cfg.get('layer_decay_rate', 1.0)
        groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                lr, decay = self._multipliers(name, parameter)
                scale = lr if rate == 1 else lr * rate ** self._height(module, name)
                groups[scale, decay * (self.base_wd or 0.0)].append(parameter)
        for (scale, decay), members in sorted(groups.items(), key=lambda item: item[0]):
            params.append({'params': members, 'lr': self.base_lr * scale, 'weight_decay': decay})

    def _multipliers(self, name: str, parameter: nn.Parameter) -> tuple[float, float]:
        """Of the learning rate, layer-wise decay apart, and of the weight decay."""
        decay = 0.0 if parameter.ndim <= 1 or name.rpartition('.')[2] in _NO_DECAY_TOKENS else 1.0
        custom_keys = self.paramwise_cfg.get('custom_keys', {})
        for key in sorted(sorted(custom_keys), key=len, reverse=True):
            if key in f'.{name}':
                return custom_keys[key].get('lr_mult', 1.0), custom_keys[key].get('decay_mult', decay)
        return 1.0, decay

    @staticmethod
    def _height(module: nn.Module, name: str) -> int:
        """How many depths lie between a parameter and the output; 0 outside of the backbone."""
        if not name.startswith('backbone.'):
            return 0
        backbone = module.get_submodule('backbone')
        get_layer_depth = getattr(backbone, 'get_layer_depth', None)
        if get_layer_depth is None:
            raise InputError(
                'layer-wise decay needs a backbone with the method get_layer_depth, which '
                f'{type(backbone).__name__} does not have'
            )
        depth, num_depths = get_layer_depth(name, prefix='backbone.')
        return num_depths - 1 - depth
