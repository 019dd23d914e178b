"""LoRA (Hu et al. 2021) around backbones: mmpretrain's layers, of which some parts are trained whole, and merging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.peft import LoRAModel
from mmpretrain.models.peft.lora import LoRALinear
from torch import nn

from mmbeitv2.layers.frozen import fingerprint
from mmbeitv2.registry import MODELS


@MODELS.register_module()
class LoRABackbone(LoRAModel):
    """mmpretrain's ``LoRAModel`` around a backbone of which some parts are trained and saved whole.

    ``LoRAModel`` freezes everything else, and saves nothing else. That does not suit what a task adds to the
    pretrained weights: the mask token of a model that has none, the queries of EoMT.

    Args:
        trained: how the names of these parts begin, for example ``['mask_token']`` or ``['mask_module.']``.
        kwargs: see ``LoRAModel``: ``module`` (the backbone, whose ``init_cfg`` loads the frozen weights whenever the
            model is built), ``alpha``, ``rank``, ``drop_rate``, ``targets``.
    """

    def __init__(self, trained: Sequence[str] = (), **kwargs: Any) -> None:
        self.trained = tuple(f'module.{name}' for name in trained)
        super().__init__(**kwargs)

    def is_saved(self, name: str) -> bool:
        """Whether a weight is trained, and so in checkpoints."""
        return '.lora_' in name or name.startswith(self.trained)

    def _set_lora_trainable(self) -> None:
        for name, parameter in self.named_parameters():
            parameter.requires_grad = self.is_saved(name)

    def _register_state_dict_hooks(self) -> None:
        super()._register_state_dict_hooks()
        self._state_dict_hooks.clear()  # mmpretrain's also removes what modules before this one have saved
        self._register_state_dict_hook(_keep_trained)


def _keep_trained(model: LoRABackbone, state: dict, prefix: str, metadata: dict) -> None:
    for key in list(state):
        if key.startswith(prefix) and not model.is_saved(key[len(prefix) :]):
            del state[key]


@torch.no_grad()
def merge_lora(model: Any) -> Any:
    """A model without LoRA: each layer has the sum of its weights, and all weights have their plain names.

    Args:
        model: is changed; has any number of mmpretrain's ``LoRAModel`` or peft's ``PeftModel`` in it, or is one itself.

    Returns:
        The same model, or what was inside if it is one of these itself.
    """
    if hasattr(model, 'merge_and_unload'):  # peft's
        return model.merge_and_unload()
    for name, child in model.named_children():
        if (merged := merge_lora(child)) is not child:
            setattr(model, name, merged)
    if isinstance(model, LoRALinear):
        layer = model.original_layer
        layer.weight += model.scaling * model.lora_up.weight @ model.lora_down.weight
        return layer
    return model.module if isinstance(model, LoRAModel) else model


def frozen_fingerprints(model: nn.Module) -> dict[str, str]:
    """A hash of the weights of each ``LoRAModel`` that its checkpoints do not hold, and alpha/rank, by its name."""
    found = {}
    for name, part in model.named_modules():
        if isinstance(part, LoRAModel):
            saved = {key.removeprefix('module.') for key in part.state_dict()}
            scales = sorted({layer.scaling for layer in part.modules() if isinstance(layer, LoRALinear)})
            scaled = ', '.join(f'{scale:g}' for scale in scales)
            found[name or 'model'] = f'weights {fingerprint(part.module, saved)}, alpha/rank {scaled}'
    return found
