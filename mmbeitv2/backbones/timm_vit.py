"""timm's plain ViTs behind this package's interfaces: DINOv2 and DINOv3, SigLIP, EVA-02, MAE, DeiT III and others."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mmbeitv2.backbones.base import (
    EMBEDDINGS,
    FinalNorm,
    ViTBackbone,
    freeze,
    resolve_grid,
    resolve_indices,
)
from mmbeitv2.errors import InputError, require_known
from mmbeitv2.layers import require_patch, select_tokens, to_map, trunc_normal
from mmbeitv2.registry import MODELS

TimmOutType = Literal['raw', 'featmap', 'cls_token', 'avg_featmap', 'pooled']
BlockArguments = list[dict[str, Any]]  # what each block of timm takes beside the tokens: the rotary angles


@MODELS.register_module()
class TimmViT(ViTBackbone):
    """A plain ViT of timm (classes ``VisionTransformer`` and ``Eva``) for every use that :class:`BEiTv2ViT` has;
    :class:`ViTBackbone` has its forward.

    It runs timm's own modules; the names of its weights are timm's after the prefix ``vit.``. Register tokens take part
    in every block, but are not among the outputs and not in the patch aggregation.

    Args:
        model: timm's name, for example ``'vit_base_patch16_dinov3.lvd1689m'``, ``'hf-hub:...'`` or ``'local-dir:...'``.
        pretrained: true for timm's weights, downloaded at first use, or a local file of such weights. For a checkpoint
            of this package, use ``init_cfg``.
        img_size: side in pixels, or (height, width), of the images that the position parameters are made for; None for
            the model's own. For images of another size, they are resized in the forward as timm does.
        patch_size: side of a patch in pixels; None for the model's own. Pretrained filters are resampled by timm.
        in_channels: channels of the images. Pretrained filters are adapted by timm's rule.
        out_indices: blocks whose output is returned, counted from 0; negative ones count from the last.
        out_type: form of each output. ``'raw'``: CLS, if there is one, and patches (B, 1+N, C); ``'featmap'``: patches
            (B, C, h, w); ``'cls_token'``: (B, C); ``'avg_featmap'``: mean of the patches (B, C); ``'pooled'``: (B, C),
            as timm's model pools and normalizes them, for example by SigLIP's attention pool; of the last block only.
        final_norm: what follows the last block. ``'norm'``: the model's last norm on every token; ``'fc_norm'``: the
            norm where timm's classifier has it, for some models after the mean; ``'none'``: nothing (segmentation).
        use_cls_token: add a CLS token to a model without one (SigLIP). It has no position, starts from random numbers
            and changes the features of the patches. Pretraining needs one, and fine-tuning from such a pretraining.
        use_mask_token: build ``mask_token``, so that the forward accepts a mask.
        drop_path_rate: stochastic depth of the last block, in [0, 1); grows linearly from 0.
        frozen_stages: number of blocks to freeze, counted from the input, including the embeddings. -1: none;
            ``depth``: all, including the norm.
        with_cp: activation checkpointing: recompute each block in the backward to save memory.
        init_cfg: see mmengine; ``dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=...)`` loads the backbone of a
            checkpoint that was made with the same model, and resizes its positions.
        settings: further arguments of timm's model, for example ``depth``, ``embed_dim`` and ``num_heads``.

    Raises:
        InputError: if timm has no such model or weights, or the model is no plain ViT.
    """

    def __init__(
        self,
        model: str,
        pretrained: bool | str = False,
        img_size: int | Sequence[int] | None = None,
        patch_size: int | None = None,
        in_channels: int = 3,
        out_indices: int | Sequence[int] = -1,
        out_type: TimmOutType = 'avg_featmap',
        final_norm: FinalNorm = 'norm',
        use_cls_token: bool = False,
        use_mask_token: bool = False,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        require_known(('out_type', out_type, TimmOutType), ('final_norm', final_norm, FinalNorm))
        options = dict(img_size=img_size, patch_size=patch_size, drop_path_rate=drop_path_rate, **settings)
        vit = _create(model, pretrained, in_chans=in_channels, **options)
        self.vit = vit
        if settings.get('patch_drop_rate'):
            raise InputError('patch_drop_rate must be 0: masks and feature maps need all patches')
        self.embed_dims, self.depth, self.in_channels = vit.embed_dim, len(vit.blocks), in_channels
        self.patch_size = vit.patch_embed.patch_size[0]
        self.grid_size = resolve_grid(vit.patch_embed.img_size if img_size is None else img_size, self.patch_size)
        self.out_indices = resolve_indices(out_indices, self.depth)
        self.out_type, self.final_norm = out_type, final_norm
        self.frozen_stages, self.with_cp = frozen_stages, with_cp
        if use_cls_token and vit.cls_token is None:
            _add_cls_token(vit)
        if out_type == 'cls_token' and vit.cls_token is None:
            raise InputError(
                f"model={model!r} has no CLS token, which out_type='cls_token' needs. Set out_type='pooled' or "
                "'avg_featmap', or use_cls_token=True."
            )
        if out_type == 'pooled' and self.out_indices != (self.depth - 1,):
            raise InputError(f"out_type='pooled' needs out_indices=-1, not {self.out_indices}")
        self.num_extra_tokens = vit.num_prefix_tokens  # mmpretrain's vis_cam.py asks for it
        self.mask_token = None
        if use_mask_token:
            self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))
            trunc_normal(self.mask_token)
        self._leave_out_unused()
        vit.is_init = True  # for mmengine, which would call timm's init_weights on loaded weights
        self._freeze_stages()

    def _leave_out_unused(self) -> None:
        """Removes what has no part in the outputs: DDP refuses parameters without a gradient."""
        vit = self.vit
        if self.final_norm == 'none':
            vit.norm = vit.fc_norm = nn.Identity()
        if self.out_type != 'pooled':
            vit.attn_pool = None
            if self.final_norm == 'norm' and self.norm is vit.norm:
                vit.fc_norm = nn.Identity()

    @property
    def blocks(self) -> Any:
        """The blocks of timm's model."""
        return self.vit.blocks

    @property
    def norm(self) -> nn.Module:
        """The model's last norm, which timm calls ``fc_norm`` where its classifier takes the mean before the norm."""
        return self.vit.fc_norm if isinstance(self.vit.norm, nn.Identity) else self.vit.norm

    def aggregation_blocks(self, depth: int) -> nn.ModuleList:
        """Blocks for the patch aggregation: copies of the blocks that follow layer l, the first of two ``out_indices``.

        So they start from pretrained weights too. Registers are left out, so that all of what the aggregation knows of
        the whole image comes through CLS.

        Args:
            depth: number of blocks.

        Raises:
            InputError: if the backbone is not set up for pretraining with patch aggregation.
        """
        layer_l = self.require_aggregation()
        numbers = [min(layer_l + i, self.depth - 1) for i in range(depth)]
        return nn.ModuleList(AggregationBlock(copy.deepcopy(self.blocks[number]), number) for number in numbers)

    def require_pretraining(self) -> int | None:
        """Checks the settings that pretraining needs; the layer l, counted from 1, or None if there is none."""
        if self.vit.cls_token is None:
            raise InputError('pretraining needs a CLS token, which this model does not have. Set use_cls_token=True.')
        return super().require_pretraining()

    def _embed(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, tuple[int, int], BlockArguments]:
        """Images (B, C, H, W) -> tokens (B, prefix+N, C), the grid (h, w), and what each block takes beside tokens."""
        vit = self.vit
        require_patch(x, self.patch_size)
        x = vit.patch_embed(x)  # (B, h, w, C)
        grid = (x.shape[1], x.shape[2])
        if mask is not None:
            x = self.mask_patches(x.flatten(1, 2), mask).unflatten(1, grid)
        embedded = vit._pos_embed(x)  # of Eva: with the rotary angles
        x, rope = embedded if isinstance(embedded, tuple) else (embedded, None)
        context: BlockArguments = [{} if rope is None else {'rope': rope}] * self.depth
        if getattr(vit, 'rope_mixed', False):  # learned angles, (depth, num_heads, N, D)
            context = [{'rope': angles} for angles in rope]
        return vit.norm_pre(x), grid, context

    def run_block(self, number: int, x: Tensor, context: BlockArguments, queries: Tensor | None = None) -> Tensor:
        """A block on all tokens (B, prefix+N, C), of which ``queries`` (B, M) int64 are wanted."""
        x = self.run(self.blocks[number], x, **context[number])
        return x if queries is None else select_tokens(x, queries)

    def _format(self, x: Tensor, grid: tuple[int, int], is_last: bool) -> Tensor:
        vit, pools_first = self.vit, self.final_norm == 'fc_norm'
        if self.out_type == 'pooled':
            return vit.forward_head(vit.norm(x), pre_logits=True)
        if is_last:
            x = vit.norm(x) if pools_first else self.norm(x)
        patches = x[:, vit.num_prefix_tokens :]  # (B, N, C)
        if self.out_type == 'raw':
            x = patches if vit.cls_token is None else torch.cat((x[:, :1], patches), dim=1)
        elif self.out_type == 'cls_token':
            x = x[:, 0]
        else:
            x = patches.mean(dim=1) if self.out_type == 'avg_featmap' else patches
        if is_last and pools_first:
            x = vit.fc_norm(x)
        return to_map(x, grid) if self.out_type == 'featmap' else x

    def resize_positions(self, grid: tuple[int, int]) -> None:
        """Resizes the position parameters in place to another patch grid (h, w), as timm does."""
        self.vit.set_input_size(img_size=(grid[0] * self.patch_size, grid[1] * self.patch_size))
        self.grid_size = grid

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        frozen = [self.mask_token, *(getattr(self.vit, name, None) for name in EMBEDDINGS)]
        frozen += self.blocks[: self.frozen_stages]
        if self.frozen_stages >= self.depth:
            frozen += [self.vit.norm, self.vit.fc_norm, self.vit.attn_pool]
        freeze(frozen)


class AggregationBlock(nn.Module):
    """A block of timm, called as the patch aggregation calls it, on CLS and patches without registers.

    Args:
        block: timm's block.
        number: of the block in the backbone whose context it takes, counted from 0.
    """

    def __init__(self, block: nn.Module, number: int) -> None:
        super().__init__()
        self.block, self.number = block, number
        set_prefix_tokens(block, 1)

    def forward(self, x: Tensor, context: BlockArguments, queries: Tensor | None = None) -> Tensor:
        """Tokens (B, 1+N, C) -> (B, 1+N, C), or (B, M, C) where ``queries`` (B, M) int64 names the tokens wanted."""
        x = self.block(x, **context[self.number])
        return x if queries is None else select_tokens(x, queries)


def set_prefix_tokens(block: nn.Module, num_prefix_tokens: int) -> None:
    """Tells a block how many of the first tokens have no rotary angle."""
    attention: Any = block.get_submodule('attn')
    if hasattr(attention, 'num_prefix_tokens'):
        attention.num_prefix_tokens = num_prefix_tokens


def _add_cls_token(vit: Any) -> None:
    """Gives timm's model a CLS token, which its own ``_pos_embed`` puts in front without a position."""
    vit.cls_token = nn.Parameter(torch.zeros(1, 1, vit.embed_dim))
    trunc_normal(vit.cls_token)
    vit.no_embed_class = True
    vit.num_prefix_tokens += 1
    for block in vit.blocks:
        set_prefix_tokens(block, vit.num_prefix_tokens)


def create_timm(model: str, pretrained: bool | str, **options: Any) -> Any:
    """Timm's model without a classifier.

    Args:
        model: timm's name.
        pretrained: true for timm's weights, or a file, of which only tensors are read.
        options: further arguments of timm's model.

    Raises:
        InputError: if the file does not exist, cannot be read, or holds the weights of another model.
    """
    if not isinstance(pretrained, str):
        return timm.create_model(model, pretrained, num_classes=0, **options)
    if not Path(pretrained).is_file():
        raise InputError(f'weights {pretrained!r} do not exist. Set pretrained to a file, or to True.')
    try:
        state = timm.models.load_state_dict(pretrained, weights_only=True)
        saved = _matrices(state)
    except Exception as error:  # readers raise anything on damaged files
        raise InputError(
            f'weights {pretrained!r} cannot be read ({type(error).__name__}). Set pretrained to a file of weights.'
        ) from error
    overlay = {'state_dict': state, 'source': ''}
    network: Any = timm.create_model(model, True, num_classes=0, pretrained_cfg_overlay=overlay, **options)
    network.pretrained_cfg.pop('state_dict', None)
    # Where a file has no weights, timm keeps random ones. Names differ between formats, and some matrices are adapted.
    own = _matrices(network.state_dict())
    if len(own & saved) < len(own) / 4:
        raise InputError(
            f'weights {pretrained!r} are not of model={model!r}: only {len(own & saved)} of its {len(own)} matrices '
            'are in the file. Set pretrained to a file of weights of this model.'
        )
    return network


def _matrices(state: dict[str, Tensor]) -> set[tuple[torch.Size, float]]:
    """What tells apart the matrices of a state dict."""
    return {(value.shape, value.float().sum().item()) for value in state.values() if value.ndim > 1}


def _create(model: str, pretrained: bool | str, **options: Any) -> Any:
    """Timm's model without a classifier, for images of any size."""
    try:
        vit = create_timm(model, pretrained, dynamic_img_size=True, dynamic_img_pad=True, **options)
    except TypeError as error:  # other models have no dynamic_img_size
        raise InputError(f'timm cannot build model={model!r} as a plain ViT ({error}). {_PLAIN}') from error
    except (OSError, RuntimeError) as error:
        reason = ' '.join(str(error).split())[:300]
        raise InputError(
            f'timm cannot build model={model!r} with pretrained={pretrained!r} ({type(error).__name__}: {reason}). '
            'Set model to a name of timm.list_models(pretrained=True), and pretrained to False, to a file of weights '
            'of this model, or to True where there is a network.'
        ) from error
    if not isinstance(vit, (VisionTransformer, Eva)) or not hasattr(vit.patch_embed, 'proj'):
        raise InputError(f'model={model!r} is a {type(vit).__name__}, not a plain ViT. {_PLAIN}')
    return vit


_PLAIN = (
    'TimmViT takes models of the classes VisionTransformer and Eva, for example vit_base_patch16_dinov3; for a BEiT, '
    'use BEiTv2ViT.'
)
