"""What the ViTs of this package have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from logging import FileHandler
from typing import Any, Literal, get_args

import torch
from mmengine.logging import MMLogger
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmbeitv2.errors import InputError

FinalNorm = Literal['norm', 'fc_norm', 'none']


class ViTBackbone(BaseBackbone):
    """Base of the backbones: activation checkpointing, masking, and what pretraining asks for."""

    grid_size: tuple[int, int]
    depth: int
    out_indices: tuple[int, ...]
    out_type: str
    final_norm: FinalNorm
    mask_token: nn.Parameter | None
    with_cp: bool

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        """Notes the patch grid beside torch's versions of modules: the number of positions does not tell it."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        getattr(destination, '_metadata', {}).setdefault(prefix[:-1], {})['grid_size'] = self.grid_size

    def run(self, block: nn.Module, *inputs: Any, **settings: Any) -> Tensor:
        """A block, whose activations are computed again in the backward with ``with_cp``."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False, **settings)
        return block(*inputs, **settings)

    def mask_patches(self, x: Tensor, mask: Tensor) -> Tensor:
        """Patches (B, N, C) with the mask token where the mask (B, N) is true."""
        if self.mask_token is None:
            raise InputError('a mask was given, but the backbone has no mask token. Set use_mask_token=True.')
        if mask.shape != x.shape[:2]:
            raise InputError(
                f'the mask has shape {tuple(mask.shape)}, but the images have patches of shape {tuple(x.shape[:2])}. '
                'Both must have the same grid.'
            )
        return torch.where(mask.unsqueeze(-1), self.mask_token.to(x.dtype), x)

    def require_pretraining(self) -> int | None:
        """Checks the settings that pretraining needs; the layer l, counted from 1, or None if there is none."""
        if self.out_type != 'raw' or self.final_norm != 'norm' or self.mask_token is None:
            raise InputError(
                "pretraining needs a backbone with out_type='raw', final_norm='norm' and use_mask_token=True"
            )
        if self.out_indices[-1] != self.depth - 1 or len(self.out_indices) > 2:
            raise InputError(
                f'pretraining needs a backbone whose out_indices, here {self.out_indices}, are the last block, or one '
                'block (layer l of the patch aggregation) and the last'
            )
        return self.out_indices[0] + 1 if len(self.out_indices) == 2 else None

    def require_aggregation(self) -> int:
        """Checks the settings that pretraining with patch aggregation needs; the layer l, counted from 1."""
        layer_l = self.require_pretraining()
        if layer_l is None:
            raise InputError(
                f'out_indices={self.out_indices} of the backbone must be two blocks, l and the last one, because the '
                'patch aggregation reads the patches after block l'
            )
        return layer_l

    def _dump_init_info(self) -> None:
        """Lists how each weight was initialized, but in the log file only: inside a ``LoRAModel``, mmengine would show
        the list on the screen whenever a model is built."""
        if any(isinstance(handler, FileHandler) for handler in MMLogger.get_current_instance().handlers):
            super()._dump_init_info()

    def _freeze_stages(self) -> None:
        raise NotImplementedError

    def train(self, mode: bool = True) -> ViTBackbone:
        """Sets the mode; frozen parts stay in eval mode."""
        super().train(mode)
        self._freeze_stages()
        return self


def freeze(parts: Iterable[nn.Module | nn.Parameter | None]) -> None:
    """Puts modules in eval mode, and takes them and parameters out of the training."""
    for part in parts:
        if isinstance(part, nn.Module):
            part.eval()
        if part is not None:
            part.requires_grad_(False)


def require_known(*settings: tuple[str, str, object]) -> None:
    """Refuses a setting (name, value, ``Literal`` of the choices) that is none of the choices."""
    for name, value, literal in settings:
        if value not in get_args(literal):
            raise InputError(f'{name}={value!r} is unknown. Choose one of {", ".join(get_args(literal))}.')


def resolve_grid(img_size: int | Sequence[int], patch_size: int) -> tuple[int, int]:
    """The patch grid (h, w) of an image of a size in pixels."""
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if patch_size < 1 or height % patch_size or width % patch_size or min(height, width) < patch_size:
        raise InputError(f'img_size={img_size} is not a multiple of patch_size={patch_size}. Change one of them.')
    return height // patch_size, width // patch_size


def resolve_indices(out_indices: int | Sequence[int], depth: int) -> tuple[int, ...]:
    """Numbers of blocks, counted from 0."""
    indices = [out_indices] if isinstance(out_indices, int) else list(out_indices)
    resolved = [index % depth for index in indices]
    if any(not -depth <= index < depth for index in indices) or resolved != sorted(set(resolved)):
        raise InputError(
            f'out_indices={indices} must name blocks in increasing order; the backbone has {depth}, counted from 0'
        )
    return tuple(resolved)
