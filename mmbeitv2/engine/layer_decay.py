"""Parameter groups: weight decay by the shape of a parameter, learning rate by its depth."""

from __future__ import annotations

import logging
from collections import defaultdict

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmbeitv2.errors import InputError
from mmbeitv2.registry import OPTIM_WRAPPER_CONSTRUCTORS

_NO_DECAY_TOKENS = ('cls_token', 'reg_token', 'pos_embed')
_MULTIPLIERS = ('bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult', 'flat_decay_mult')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise lr decay for any model whose ``backbone`` has ``get_layer_depth`` (paper, tables 10 and 11).

    The learning rate of depth d of D is multiplied by ``layer_decay_rate ** (D - 1 - d)``; heads and necks have the
    full learning rate. Weight decay applies to all parameters with more than one dimension except ``cls_token``,
    ``reg_token`` and ``pos_embed``. Parameters with the same learning rate and weight decay form one group, so that a
    fused optimizer launches few kernels.

    In a config: ``optim_wrapper=dict(constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.65))``; without the rate, or with 1, it only separates parameters by weight
    decay (pretraining). ``paramwise_cfg`` may also have the keys of mmengine's ``DefaultOptimWrapperConstructor`` (but
    for deformable convolutions): ``custom_keys``, ``bias_lr_mult``, ``bias_decay_mult``, ``norm_decay_mult``,
    ``dwconv_decay_mult``, ``flat_decay_mult``. Their learning rates multiply that of the layer. Their weight decays
    replace the rule above, each where it applies; a custom key without ``decay_mult`` leaves the rule as it is. A
    parameter that appears in two places is listed once, so ``bypass_duplicate`` has no effect.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        # Without any paramwise_cfg, mmengine would not ask add_params at all.
        super().__init__(optim_wrapper_cfg, paramwise_cfg or {'layer_decay_rate': 1.0})

    def _validate_cfg(self) -> None:
        known = ('layer_decay_rate', 'custom_keys', 'bypass_duplicate', *_MULTIPLIERS)
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
        names = [_bare(name) for name, _ in module.named_parameters()]
        if rate < 1 and not any(name.startswith('backbone.') for name in names):
            # Not an error: mmpretrain draws schedules with a stand-in for the model.
            print_log(
                f'layer_decay_rate={rate} has no effect: the model, a {type(module).__name__}, has no backbone (its '
                f'first parameter is {next(iter(names), None)}). Call its encoder backbone, or leave the rate out.',
                logger='current',
                level=logging.WARNING,
            )
        groups: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = defaultdict(list)
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                lr, decay = self._multipliers(module.get_submodule(name.rpartition('.')[0]), name, parameter)
                scale = lr if rate == 1 else lr * rate ** self._height(module, name)
                groups[scale, decay * (self.base_wd or 0.0)].append((_bare(name), parameter))
        for (scale, decay), members in sorted(groups.items(), key=lambda item: item[0]):
            found, parameters = zip(*members, strict=True)
            group = {'params': list(parameters), 'names': list(found)}  # by which a run resumes with other groups
            params.append({**group, 'lr': self.base_lr * scale, 'weight_decay': decay})

    def _multipliers(self, owner: nn.Module, name: str, parameter: nn.Parameter) -> tuple[float, float]:
        """Of the learning rate, layer-wise decay apart, and of the weight decay; the order of the rules is mmengine's.

        Args:
            owner: the module that has the parameter.
            name: in the whole model.
            parameter: the parameter.
        """
        cfg, leaf = self.paramwise_cfg, name.rpartition('.')[2]
        decay = 0.0 if parameter.ndim <= 1 or leaf in _NO_DECAY_TOKENS else 1.0
        custom_keys = cfg.get('custom_keys', {})
        for key in sorted(sorted(custom_keys), key=len, reverse=True):
            if key in f'.{name}':
                return custom_keys[key].get('lr_mult', 1.0), custom_keys[key].get('decay_mult', decay)
        is_norm, is_bias = isinstance(owner, (_NormBase, nn.GroupNorm, nn.LayerNorm)), leaf == 'bias'
        rules = {
            'norm_decay_mult': is_norm,
            'bias_decay_mult': is_bias,
            'dwconv_decay_mult': isinstance(owner, nn.Conv2d) and owner.in_channels == owner.groups,
            'flat_decay_mult': parameter.ndim == 1,
        }
        lr = cfg.get('bias_lr_mult', 1.0) if is_bias and not is_norm else 1.0
        return lr, next((cfg[rule] for rule, applies in rules.items() if applies and rule in cfg), decay)

    @staticmethod
    def _height(module: nn.Module, name: str) -> int:
        """How many depths lie between a parameter and the output; 0 outside of the backbone."""
        name = _bare(name)
        if not name.startswith('backbone.'):
            return 0
        backbone = module.get_submodule('backbone')
        get_layer_depth = getattr(backbone, 'get_layer_depth', None)
        if get_layer_depth is None:
            raise InputError(
                'layer-wise decay needs a backbone with the method get_layer_depth, which '
                f'{type(backbone).__name__} does not have'
            )
        prefix = 'backbone.module.' if name.startswith('backbone.module.') else 'backbone.'  # of a LoRAModel
        depth, num_depths = get_layer_depth(name, prefix=prefix)
        return num_depths - 1 - depth


def _bare(name: str) -> str:
    """The name of a parameter without the prefixes of ``torch.compile``."""
    return name.replace('_orig_mod.', '')
