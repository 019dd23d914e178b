"""What the ViTs of this package have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from logging import FileHandler
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmbeitv2.errors import InputError
from mmbeitv2.interfaces import MaskedFeatures

FinalNorm = Literal['norm', 'fc_norm', 'none']
# What is in front of the blocks, here or in timm's models.
EMBEDDINGS = ('patch_embed', 'cls_token', 'mask_token', 'dist_token', 'reg_token', 'pos_embed', 'rope', 'norm_pre')


class ViTBackbone(BaseBackbone):
    """Base of the backbones: their forward, with activation checkpointing, and what pretraining asks for."""

    grid_size: tuple[int, int]
    depth: int
    out_indices: tuple[int, ...]
    out_type: str
    final_norm: FinalNorm
    mask_token: nn.Parameter | None
    with_cp: bool
    norm: Any

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encodes a batch of images.

        Args:
            x: images (B, C, H, W), H and W at least one patch; they are padded with zeros at the right and bottom to
                whole patches.
            mask: (B, N) bool, true where the patch embedding is replaced by ``mask_token``.

        Returns:
            One tensor per entry of ``out_indices``, in the form that ``out_type`` says.
        """
        x, grid, context = self._embed(x, mask)  # (B, prefix+N, C)
        outputs = []
        for i in range(self.depth):
            x = self.run_block(i, x, context)
            if i in self.out_indices:
                outputs.append(self._format(x, grid, is_last=i == self.depth - 1))
        return tuple(outputs)

    def forward_masked(self, images: Tensor, mask: Tensor, masked_index: Tensor) -> MaskedFeatures:
        """Encodes masked images for pretraining, which only uses the outputs of the masked patches and CLS.

        The last block of :class:`BEiTv2ViT` only computes these. For ViT-B, together with the same in the neck, this
        saves 6 % of all operations (one thread, backbone and neck, forward and backward: 3.48 instead of 3.61 s for two
        images).

        Args:
            images: (B, C, H, W).
            mask: (B, N) bool, true where the patch is masked.
            masked_index: (B, M) int64, the masked patches, counted from 0.

        Raises:
            InputError: if the backbone is not set up for pretraining.
        """
        layer_l = self.require_pretraining()
        x, _grid, context = self._embed(images, mask)  # (B, prefix+N, C)
        prefix, layer_l_patches = x.shape[1] - mask.shape[1], None
        for i in range(self.depth - 1):
            x = self.run_block(i, x, context)
            if i + 1 == layer_l:
                layer_l_patches = x[:, prefix:]
        x = self.run_block(self.depth - 1, x, context, F.pad(masked_index + prefix, (1, 0)))  # token 0 is CLS
        return MaskedFeatures(self.final_norm_of(x[:, 1:]), x[:, :1], layer_l_patches, context)

    def final_norm_of(self, tokens: Tensor) -> Tensor:
        """The norm after the last block, (..., C) -> (..., C)."""
        normalized: Tensor = self.norm(tokens)
        return normalized

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter for layer-wise lr decay: 0 embedding, 1..depth blocks, depth+1 what follows.

        Returns:
            The depth, and the number of depths (``depth + 2``).
        """
        name = param_name[len(prefix) :] if param_name.startswith(prefix) else ''
        part, _, rest = name.removeprefix('vit.').partition('.')
        depth = 0 if part in EMBEDDINGS else self.depth + 1
        return int(rest.split('.')[0]) + 1 if part == 'blocks' else depth, self.depth + 2

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

    def _embed(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, tuple[int, int], Any]:
        """Images (B, C, H, W) -> tokens (B, prefix+N, C), the grid (h, w), and what the blocks take beside tokens."""
        raise NotImplementedError

    def run_block(self, number: int, x: Tensor, context: Any, queries: Tensor | None = None) -> Tensor:
        """A block on all tokens (B, prefix+N, C); only those that ``queries`` (B, M) int64 names are returned."""
        raise NotImplementedError

    def _format(self, x: Tensor, grid: tuple[int, int], is_last: bool) -> Tensor:
        """Tokens (B, prefix+N, C) after a block as ``out_type`` says."""
        raise NotImplementedError

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


def resolve_grid(img_size: int | Sequence[int], patch_size: int) -> tuple[int, int]:
    """The patch grid (h, w) of an image of a size in pixels."""
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if patch_size < 1 or height % patch_size or width % patch_size or min(height, width) < patch_size:
        raise InputError(f'img_size={img_size} is not a multiple of patch_size={patch_size}. Change one of them.')
    return height // patch_size, width // patch_size


def resolve_indices(out_indices: int | Sequence[int], depth: int) -> tuple[int, ...]:
    """Numbers of blocks, counted from 0."""
    if depth < 1:
        raise InputError(f'depth={depth} must be at least 1 block')
    indices = [out_indices] if isinstance(out_indices, int) else list(out_indices)
    resolved = [index % depth for index in indices]
    if any(not -depth <= index < depth for index in indices) or resolved != sorted(set(resolved)):
        raise InputError(
            f'out_indices={indices} must name blocks in increasing order; the backbone has {depth}, counted from 0'
        )
    return tuple(resolved)
