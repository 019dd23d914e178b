"""The one ViT of this package: tokenizer encoder and decoder, pretraining, classification, segmentation.

Read from the top: :class:`BEiTv2ViT`, then its parts in the order in which an image meets them. Parameter names are
those of the BEiT v2 release (and timm), so a released file loads by its prefix; ``checkpoints/`` knows file formats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmbeitv2.errors import InputError
from mmbeitv2.models.positions import (
    NUM_CLS_DISTANCES,
    num_relative_distances,
    relative_position_index,
    resize_pos_embed,
    resize_relative_position_table,
)
from mmbeitv2.registry import MODELS

# arch -> (embed_dims, depth, num_heads)
ARCH: dict[str, tuple[int, int, int]] = {
    'small': (384, 12, 6),  # paper, table 4 (VQ-KD with a ViT-S encoder); DeiT-S
    'base': (768, 12, 12),  # paper, table 9; ViT-B
    'large': (1024, 24, 16),  # paper, table 9; ViT-L
}

OutType = Literal['raw', 'featmap', 'cls_token', 'avg_featmap']
FinalNorm = Literal['norm', 'deferred', 'fc_norm', 'none']
RelPosBias = Literal['none', 'shared', 'per_layer']


@MODELS.register_module()
class BEiTv2ViT(BaseBackbone):
    """Vision transformer of BEiT v2 (paper, section 2 and table 9).

    Args:
        arch: ``'small'``, ``'base'``, ``'large'``, or a dict with ``embed_dims``, ``depth`` and ``num_heads``.
        img_size: side in pixels, or (height, width), that the position parameters are made for. Images of another
            size are taken too: positions are then resized in the forward, by bicubic interpolation.
        patch_size: side of a patch in pixels.
        in_channels: channels of the input (32 for the tokenizer's decoder).
        out_indices: blocks whose output is returned, counted from 0; negative ones count from the last.
        out_type: form of each output. ``'raw'``: all tokens (B, 1+N, C); ``'featmap'``: patches (B, C, h, w);
            ``'cls_token'``: (B, C); ``'avg_featmap'``: mean of the patches (B, C).
        final_norm: what follows the last block. ``'norm'``: LayerNorm of every token; ``'deferred'``: the same
            layer is built, but the caller applies it (pretraining, where patch aggregation comes between);
            ``'fc_norm'``: LayerNorm of what ``out_type`` makes of the tokens, so after the mean (fine-tuning), or of
            every token (tokenizer); ``'none'``: nothing (segmentation).
        use_abs_pos_emb: learned absolute position embedding.
        rel_pos_bias: relative position bias: ``'shared'`` by all blocks (pretraining), ``'per_layer'``, ``'none'``.
        use_mask_token: build ``mask_token``, so that the forward accepts a mask.
        layer_scale_init_value: initial layer scale; 0 builds none.
        mlp_ratio: hidden over embedding width in the MLP.
        drop_path_rate: stochastic depth of the last block, in [0, 1); grows linearly from 0.
        frozen_stages: number of blocks to freeze from the input on, patch embedding included. -1: none; ``depth``: all
            with the norm.
        with_cp: activation checkpointing: recompute each block in the backward to save memory.
        init_std: standard deviation of the truncated normal initialisation.
        init_cutoff: where that normal is cut. The reference cuts at 2.0 in the tokenizer and in fine-tuning, at 0.02
            (one standard deviation) in pretraining.
        init_cfg: see mmengine; ``dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=...)`` loads any BEiT file.
    """

    def __init__(
        self,
        arch: str | dict = 'base',
        img_size: int | Sequence[int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        out_indices: int | Sequence[int] = -1,
        out_type: OutType = 'avg_featmap',
        final_norm: FinalNorm = 'norm',
        use_abs_pos_emb: bool = False,
        rel_pos_bias: RelPosBias = 'shared',
        use_mask_token: bool = False,
        layer_scale_init_value: float = 0.1,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_std: float = 0.02,
        init_cutoff: float = 2.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed_dims, self.depth, self.num_heads = _resolve_arch(arch)
        self.patch_size = patch_size
        self.grid_size = _resolve_grid(img_size, patch_size)
        self.out_type = _one_of('out_type', out_type, OutType)
        self.final_norm = _one_of('final_norm', final_norm, FinalNorm)
        self.rel_pos_bias_type = _one_of('rel_pos_bias', rel_pos_bias, RelPosBias)
        self.out_indices = _resolve_out_indices(out_indices, self.depth)
        self.frozen_stages = frozen_stages
        self.with_cp = with_cp
        self.init_std, self.init_cutoff = init_std, init_cutoff

        dim, (h, w) = self.embed_dims, self.grid_size
        self.patch_embed = PatchEmbed(patch_size, in_channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim)) if use_mask_token else None
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + h * w, dim)) if use_abs_pos_emb else None
        self.rel_pos_bias = None
        if rel_pos_bias != 'none':
            self.rel_pos_bias = RelativePositionBias(
                self.grid_size, self.num_heads if rel_pos_bias == 'shared' else None
            )
        self.blocks = nn.ModuleList(
            Block(
                dim,
                self.num_heads,
                mlp_ratio=mlp_ratio,
                drop_path=rate,
                layer_scale_init_value=layer_scale_init_value,
                grid_size=self.grid_size if rel_pos_bias == 'per_layer' else None,
            )
            for rate in drop_path_rates(drop_path_rate, self.depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6) if final_norm in ('norm', 'deferred') else None
        self.fc_norm = nn.LayerNorm(dim, eps=1e-6) if final_norm == 'fc_norm' else None
        self._freeze_stages()

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        rel_pos_bias: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Encodes a batch of images.

        Args:
            x: images (B, C, H, W), H and W at least one patch; a remainder is padded with zeros at right and bottom.
            mask: (B, N) bool, true where the patch embedding is replaced by ``mask_token``.
            rel_pos_bias: the shared bias of :meth:`position_bias`, for a caller that needs it too; computed if None.
            rows: (B, M) int64, the tokens (0 is CLS) that the last block gives out, as (B, M, C) with
                ``out_type='raw'``; it does not compute the others. All tokens if None.

        Returns:
            One tensor per entry of ``out_indices``, in the form that ``out_type`` says.
        """
        if rows is not None and self.out_type != 'raw':
            raise InputError(f"rows were given, but out_type is {self.out_type!r}: set out_type='raw'")
        x, grid = self.patch_embed(x)  # (B, N, C)
        x = self._replace_masked(x, mask)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1)  # (B, 1+N, C)
        if self.pos_embed is not None:
            x = x + resize_pos_embed(self.pos_embed, self.grid_size, grid)
        if rel_pos_bias is None:
            rel_pos_bias = self.position_bias(grid)
        outputs = []
        for i, block in enumerate(self.blocks):
            bias = rel_pos_bias
            if self.rel_pos_bias is not None and self.rel_pos_bias_type == 'per_layer':
                assert isinstance(block, Block)
                bias = self.rel_pos_bias(grid, block.attn.relative_position_bias_table)
            last_rows = rows if i == self.depth - 1 else None
            if self.with_cp and torch.is_grad_enabled():
                x = checkpoint(block, x, bias, last_rows, use_reentrant=False)
            else:
                x = block(x, bias, last_rows)
            if i in self.out_indices:
                outputs.append(self._format(x, grid, is_last=i == self.depth - 1))
        return tuple(outputs)

    def grid_of(self, images: Tensor) -> tuple[int, int]:
        """Patches (h, w) that the forward makes of images (B, C, H, W)."""
        height, width = images.shape[-2:]
        return -(-height // self.patch_size), -(-width // self.patch_size)

    def position_bias(self, grid: tuple[int, int] | None = None) -> Tensor | None:
        """The relative position bias that all blocks share, (1, num_heads, 1+N, 1+N); None if there is none."""
        if self.rel_pos_bias is None or self.rel_pos_bias_type != 'shared':
            return None
        return self.rel_pos_bias(grid or self.grid_size)

    def _replace_masked(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return x
        if self.mask_token is None:
            raise InputError('a mask was given, but the backbone has no mask token: set use_mask_token=True')
        if mask.shape != x.shape[:2]:
            raise InputError(
                f'the mask has shape {tuple(mask.shape)}, the image has patches {tuple(x.shape[:2])}: make both '
                'from one grid'
            )
        return torch.where(mask.unsqueeze(-1), self.mask_token.to(x.dtype), x)

    def _format(self, x: Tensor, grid: tuple[int, int], is_last: bool) -> Tensor:
        if is_last and self.final_norm == 'norm':
            assert self.norm is not None
            x = self.norm(x)
        if self.out_type == 'cls_token':
            x = x[:, 0]
        elif self.out_type == 'avg_featmap':
            x = x[:, 1:].mean(dim=1)
        elif self.out_type == 'featmap':
            x = x[:, 1:]
        if is_last and self.fc_norm is not None:
            x = self.fc_norm(x)
        if self.out_type == 'featmap':
            x = x.transpose(1, 2).unflatten(2, grid)  # (B, N, C) -> (B, C, h, w)
        return x

    def init_weights(self) -> None:
        """Initialises as the reference does (paper, appendix E), then loads ``init_cfg`` if there is one."""
        if not self.is_init:
            for token in (self.cls_token, self.mask_token, self.pos_embed):
                if token is not None:
                    trunc_normal(token, self.init_std, self.init_cutoff)
            init_vit_layers(self, self.init_std, self.init_cutoff)
            rescale_blocks(self.blocks)
        super().init_weights()

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter for layer-wise lr decay: 0 embedding, 1..depth blocks, depth+1 what follows.

        Returns:
            The depth, and the number of depths (``depth + 2``).
        """
        num_layers = self.depth + 2
        if not param_name.startswith(prefix):
            return num_layers - 1, num_layers
        name = param_name[len(prefix) :]
        if name in ('cls_token', 'mask_token', 'pos_embed') or name.startswith('patch_embed.'):
            return 0, num_layers
        if name.startswith('blocks.'):
            return int(name.split('.')[1]) + 1, num_layers
        return num_layers - 1, num_layers

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        frozen: list[nn.Module | nn.Parameter | None] = [
            self.patch_embed,
            self.cls_token,
            self.mask_token,
            self.pos_embed,
            self.rel_pos_bias,
        ]
        frozen += list(self.blocks[: self.frozen_stages])
        if self.frozen_stages >= self.depth:
            frozen += [self.norm, self.fc_norm]
        for part in frozen:
            if isinstance(part, nn.Module):
                part.eval()
            if part is not None:
                part.requires_grad_(False)

    def train(self, mode: bool = True) -> BEiTv2ViT:
        """Sets the mode; frozen parts stay in eval mode."""
        super().train(mode)
        self._freeze_stages()
        return self


class PatchEmbed(nn.Module):
    """Cuts an image into patches and projects each: (B, C, H, W) -> (B, N, D) and the grid (h, w)."""

    def __init__(self, patch_size: int, in_channels: int, embed_dims: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, embed_dims, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        height, width = x.shape[-2:]
        if min(height, width) < self.patch_size:
            raise InputError(
                f'an image of {height}x{width} pixels is smaller than one patch of '
                f'{self.patch_size}x{self.patch_size}: resize it first'
            )
        if height % self.patch_size or width % self.patch_size:
            x = F.pad(x, (0, -width % self.patch_size, 0, -height % self.patch_size))
        x = self.proj(x)
        grid = (x.shape[2], x.shape[3])
        return x.flatten(2).transpose(1, 2), grid  # (B, D, h, w) -> (B, N, D)


class RelativePositionBias(nn.Module):
    """Learned bias per head and relative distance, with three more for the pairs that hold the CLS token.

    Args:
        grid_size: the patch grid (h, w) that tables are made for.
        num_heads: heads of the table that all blocks share; None if each block has a table of its own.
    """

    relative_position_index: Tensor

    def __init__(self, grid_size: tuple[int, int], num_heads: int | None) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.relative_position_bias_table = (
            None if num_heads is None else empty_relative_position_table(grid_size, num_heads)
        )
        self.register_buffer('relative_position_index', relative_position_index(grid_size), persistent=False)

    def forward(self, grid: tuple[int, int], table: Tensor | None = None) -> Tensor:
        """Looks up ``table``, or the shared one, for every pair of tokens: (1, num_heads, 1+N, 1+N)."""
        table = self.relative_position_bias_table if table is None else table
        assert table is not None
        index = self.relative_position_index
        if grid != self.grid_size:
            table = resize_relative_position_table(table, self.grid_size, grid, method='bicubic')
            index = relative_position_index(grid).to(table.device)
        bias = table[index.flatten()].unflatten(0, index.shape)  # (1+N, 1+N, heads)
        return bias.permute(2, 0, 1).unsqueeze(0).contiguous()  # (1, heads, 1+N, 1+N)


class Block(nn.Module):
    """Pre-norm transformer block with layer scale and drop path: (B, N, C) -> (B, N, C), or (B, M, C) of M rows.

    Args:
        grid_size: patch grid of the block's own relative position bias table; None if it has none.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        layer_scale_init_value: float = 0.1,
        grid_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, grid_size)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        scaled = layer_scale_init_value > 0
        self.gamma_1 = nn.Parameter(layer_scale_init_value * torch.ones(dim)) if scaled else None
        self.gamma_2 = nn.Parameter(layer_scale_init_value * torch.ones(dim)) if scaled else None

    def forward(self, x: Tensor, rel_pos_bias: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        y = self.attn(self.norm1(x), rel_pos_bias, rows)
        if rows is not None:
            x = take_tokens(x, rows)
        x = x + self.drop_path(y if self.gamma_1 is None else self.gamma_1 * y)
        y = self.mlp(self.norm2(x))
        return x + self.drop_path(y if self.gamma_2 is None else self.gamma_2 * y)


class Attention(nn.Module):
    """Multi-head self-attention with an additive position bias; the keys have no bias (BEiT).

    Args:
        grid_size: patch grid of the module's own ``relative_position_bias_table``, which the backbone looks up (so
            that one index serves all blocks); None if it has none.
    """

    k_bias: Tensor

    def __init__(self, dim: int, num_heads: int, grid_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        if dim % num_heads:
            raise InputError(f'embed_dims={dim} cannot be divided by num_heads={num_heads}')
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer('k_bias', torch.zeros(dim), persistent=False)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = (
            None if grid_size is None else empty_relative_position_table(grid_size, num_heads)
        )

    def forward(self, x: Tensor, rel_pos_bias: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        q, k, v = self.project(x, rows)
        if rel_pos_bias is not None and rows is not None:
            rel_pos_bias = rel_pos_bias[0].index_select(1, rows.flatten()).unflatten(1, rows.shape)  # (heads, B, M, N)
            rel_pos_bias = rel_pos_bias.transpose(0, 1)
        if x.is_cuda:
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=rel_pos_bias, scale=self.scale)
        else:
            # Measured on CPU with a trainable bias, ViT-B: 0.94 images/s by the formula, 0.74 by the fused kernel.
            x = self.probabilities(q, k, rel_pos_bias) @ v
        return self.proj(x.transpose(1, 2).flatten(2))  # (B, heads, N, D) -> (B, N, C)

    def project(self, x: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, num_heads, N, D); queries of the rows only, if there are some."""
        if rows is None:
            bias = torch.cat((self.q_bias, self.k_bias, self.v_bias))
            q, k, v = self._split_heads(F.linear(x, self.qkv.weight, bias), 3)
            return q, k, v
        q_weight, kv_weight = self.qkv.weight.tensor_split((x.shape[-1],))
        (q,) = self._split_heads(F.linear(take_tokens(x, rows), q_weight, self.q_bias), 1)
        k, v = self._split_heads(F.linear(x, kv_weight, torch.cat((self.k_bias, self.v_bias))), 2)
        return q, k, v

    def _split_heads(self, x: Tensor, count: int) -> tuple[Tensor, ...]:
        """(B, N, count·C) -> ``count`` times (B, num_heads, N, D)."""
        return x.unflatten(2, (count, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def probabilities(self, q: Tensor, k: Tensor, rel_pos_bias: Tensor | None = None) -> Tensor:
        """Attention of each query over the keys, (B, num_heads, M, N); each row sums to 1."""
        logits = (q * self.scale) @ k.transpose(-2, -1)
        if rel_pos_bias is not None:
            logits = logits + rel_pos_bias
        return logits.softmax(dim=-1)


class Mlp(nn.Module):
    """Two linear layers with a GELU between: (B, N, C) -> (B, N, C)."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def take_tokens(x: Tensor, rows: Tensor) -> Tensor:
    """Some tokens of each image: (B, N, C), (B, M) -> (B, M, C)."""
    return x.gather(1, rows.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def empty_relative_position_table(grid_size: tuple[int, int], num_heads: int) -> nn.Parameter:
    """A zero table (distances + 3, num_heads), as the reference initialises it."""
    return nn.Parameter(torch.zeros(num_relative_distances(grid_size) + NUM_CLS_DISTANCES, num_heads))


def drop_path_rates(last: float, num_blocks: int) -> list[float]:
    """Stochastic depth per block, growing linearly from 0 to ``last``."""
    return torch.linspace(0, last, num_blocks, device='cpu').tolist()


def trunc_normal(tensor: Tensor, std: float, cutoff: float) -> None:
    """Fills ``tensor`` from a normal distribution of mean 0, cut at ±``cutoff``."""
    nn.init.trunc_normal_(tensor, std=std, a=-cutoff, b=cutoff)


def init_vit_layers(module: nn.Module, std: float, cutoff: float) -> None:
    """Truncated normal weights and zero biases in every linear and convolution layer; unit LayerNorms."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            trunc_normal(layer.weight, std, cutoff)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LayerNorm):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def rescale_blocks(blocks: nn.ModuleList, first: int = 1) -> None:
    """Divides the output layers of block i by sqrt(2·i), i counted from ``first`` (BEiT, section 2.5)."""
    for i, block in enumerate(blocks, start=first):
        assert isinstance(block, Block)
        block.attn.proj.weight.div_(math.sqrt(2 * i))
        block.mlp.fc2.weight.div_(math.sqrt(2 * i))


def _one_of(name: str, value: str, literal: object) -> str:
    if value not in get_args(literal):
        raise InputError(f'{name}={value!r} is unknown: choose one of {", ".join(get_args(literal))}')
    return value


def _resolve_arch(arch: str | dict) -> tuple[int, int, int]:
    if isinstance(arch, str):
        if arch not in ARCH:
            raise InputError(
                f'arch={arch!r} is unknown: choose one of {", ".join(ARCH)}, or give a dict with embed_dims, '
                'depth, num_heads'
            )
        return ARCH[arch]
    missing = {'embed_dims', 'depth', 'num_heads'} - set(arch)
    if missing:
        raise InputError(f'arch lacks {", ".join(sorted(missing))}: give embed_dims, depth and num_heads')
    return arch['embed_dims'], arch['depth'], arch['num_heads']


def _resolve_grid(img_size: int | Sequence[int], patch_size: int) -> tuple[int, int]:
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if height % patch_size or width % patch_size or min(height, width) < patch_size:
        raise InputError(f'img_size={img_size} is not a multiple of patch_size={patch_size}: change either')
    return height // patch_size, width // patch_size


def _resolve_out_indices(out_indices: int | Sequence[int], depth: int) -> tuple[int, ...]:
    indices = [out_indices] if isinstance(out_indices, int) else list(out_indices)
    for index in indices:
        if not -depth <= index < depth:
            raise InputError(f'out_indices={indices} has {index}, but the backbone has {depth} blocks, counted from 0')
    resolved = tuple(index % depth for index in indices)
    if list(resolved) != sorted(set(resolved)):
        raise InputError(f'out_indices={indices} must name different blocks in rising order')
    return resolved
