"""Parameter groups: weight decay by the shape of a parameter, learning rate by its depth."""

from __future__ import annotations

from collections import defaultdict

from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmbeitv2.errors import InputError
from mmbeitv2.registry import OPTIM_WRAPPER_CONSTRUCTORS

_NO_DECAY_TOKENS = ('cls_token', 'pos_embed')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise lr decay for any model with a ``backbone`` that knows ``get_layer_depth`` (paper, tables 10 and 11).

    The learning rate of depth d of D is multiplied by ``layer_decay_rate ** (D - 1 - d)``; heads and necks have the
    full one. Weight decay falls on everything with more than one dimension, except ``cls_token`` and ``pos_embed``.
    Parameters that share both are put in one group, so that a fused optimizer has few launches.

    In a config: ``optim_wrapper=dict(constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.65))``; without the rate, or with 1, it only splits by weight decay
    (pretraining).
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        # Without any paramwise_cfg, mmengine would not ask add_params at all.
        super().__init__(optim_wrapper_cfg, paramwise_cfg or {'layer_decay_rate': 1.0})

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: object) -> None:
        unknown = set(self.paramwise_cfg) - {'layer_decay_rate'}
        if unknown:
            raise InputError(
                f'paramwise_cfg has {", ".join(sorted(unknown))}, but this constructor knows only layer_decay_rate'
            )
        rate = self.paramwise_cfg.get('layer_decay_rate', 1.0)
        if not 0 < rate <= 1:
            raise InputError(f'layer_decay_rate={rate} must lie in (0, 1]')
        if self.base_lr is None:
            raise InputError('layer-wise decay needs a learning rate: set optim_wrapper.optimizer.lr')
        groups: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = defaultdict(list)
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                scale = 1.0 if rate == 1 else rate ** self._height(module, name)
                decay = (
                    0.0 if parameter.ndim <= 1 or name.rpartition('.')[2] in _NO_DECAY_TOKENS else self.base_wd or 0.0
                )
                groups[scale, decay].append((name, parameter))
        logger = MMLogger.get_current_instance()
        for (scale, decay), members in sorted(groups.items(), key=lambda item: item[0]):
            params.append(
                {'params': [parameter for _, parameter in members], 'lr': self.base_lr * scale, 'weight_decay': decay}
            )
            names = ', '.join(name for name, _ in members)
            logger.debug(f'parameter group: lr {self.base_lr * scale:.3g}, weight decay {decay:.3g}: {names}')

    @staticmethod
    def _height(module: nn.Module, name: str) -> int:
        """How many depths lie between a parameter and the output; 0 outside of the backbone."""
        if not name.startswith('backbone.'):
            return 0
        backbone = module.get_submodule('backbone')
        get_layer_depth = getattr(backbone, 'get_layer_depth', None)
        if get_layer_depth is None:
            raise InputError(
                f'layer-wise decay needs a backbone with get_layer_depth, which {type(backbone).__name__} has not'
            )
        depth, num_depths = get_layer_depth(name, prefix='backbone.')
        return num_depths - 1 - depth
