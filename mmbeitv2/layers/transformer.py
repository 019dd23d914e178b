"""Patch embedding and transformer block of BEiT, in the order in which an image meets them.

Parameter names are those of the BEiT v2 release (and timm).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.layers.position_bias import Context, empty_relative_position_table, look_up


class PatchEmbed(nn.Module):
    """Cuts an image into patches and projects each: (B, C, H, W) -> (B, N, D) and the grid (h, w)."""

    def __init__(self, patch_size: int, in_channels: int, embed_dims: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, embed_dims, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        height, width = require_patch(x, self.patch_size)
        if height % self.patch_size or width % self.patch_size:
            x = F.pad(x, (0, -width % self.patch_size, 0, -height % self.patch_size))
        x = self.proj(x)
        grid = (x.shape[2], x.shape[3])
        return x.flatten(2).transpose(1, 2), grid  # (B, D, h, w) -> (B, N, D)


def require_patch(images: Tensor, patch_size: int) -> tuple[int, int]:
    """Height and width of images (B, C, H, W), which are refused if they are smaller than one patch."""
    height, width = images.shape[-2:]
    if min(height, width) < patch_size:
        raise InputError(
            f'an image of {height}x{width} pixels is smaller than one patch of {patch_size}x{patch_size}. Resize it '
            'first.'
        )
    return height, width


class Block(nn.Module):
    """Pre-norm transformer block with layer scale and drop path.

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

    def forward(self, x: Tensor, context: Context = None, queries: Tensor | None = None) -> Tensor:
        """Computes tokens.

        Args:
            x: all tokens, (B, N, C).
            context: a position bias (1 or B, num_heads, N, N), or what the block looks up its own bias with.
            queries: (B, M) int64, the tokens to compute, which attend to all tokens; None for all.

        Returns:
            (B, N, C), or (B, M, C) in the order of the queries.
        """
        y = self.attn(self.norm1(x), context, queries)
        x = x if queries is None else select_tokens(x, queries)
        x = x + self.drop_path(y if self.gamma_1 is None else self.gamma_1 * y)
        y = self.mlp(self.norm2(x))
        return x + self.drop_path(y if self.gamma_2 is None else self.gamma_2 * y)


class Attention(nn.Module):
    """Multi-head attention with an additive position bias; the keys have no bias (BEiT).

    Args:
        grid_size: patch grid of the module's own ``relative_position_bias_table``; None if it has none.
    """

    def __init__(self, dim: int, num_heads: int, grid_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        if dim % num_heads:
            raise InputError(f'embed_dims={dim} is not divisible by num_heads={num_heads}')
        self.num_heads, self.grid_size = num_heads, grid_size
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = (
            None if grid_size is None else empty_relative_position_table(grid_size, num_heads)
        )

    def forward(self, x: Tensor, context: Context = None, queries: Tensor | None = None) -> Tensor:
        """As :meth:`Block.forward`."""
        q, k, v = self.project(x)
        bias = self.position_bias(context)
        if queries is not None:
            q = q.gather(2, queries[:, None, :, None].expand(-1, self.num_heads, -1, q.shape[3]))
            bias = None if bias is None else select_rows(bias, queries)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(x.transpose(1, 2).flatten(2))  # (B, heads, M, D) -> (B, M, C)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, num_heads, N, D)."""
        qkv = self.qkv(x)  # called as a module, which LoRA may have replaced
        qkv = qkv + torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias)).to(qkv.dtype)
        q, k, v = qkv.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def position_bias(self, context: Context) -> Tensor | None:
        """The bias that is added to the logits, (1 or B, num_heads, N, N): the context itself, or looked up with it."""
        if context is None or isinstance(context, Tensor):
            return context
        assert self.relative_position_bias_table is not None
        assert self.grid_size is not None
        return look_up(self.relative_position_bias_table, self.grid_size, context)


class Mlp(nn.Module):
    """Two linear layers with a GELU between: (B, N, C) -> (B, N, C)."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def to_map(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patches (B, N, C) as a feature map (B, C, h, w).

    It is contiguous. A view would have its channels last in memory, and so would everything that convolutions make of
    it; on the CPU, the gradient of a convolution's weights then takes several times as long.
    """
    return patches.transpose(1, 2).unflatten(2, grid).contiguous()


def select_tokens(x: Tensor, index: Tensor) -> Tensor:
    """The tokens (B, M, C) of (B, N, C) that ``index`` (B, M) int64 names."""
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def select_rows(bias: Tensor, index: Tensor) -> Tensor:
    """The rows (B, num_heads, M, N) of a bias (1, num_heads, N, N) that ``index`` (B, M) int64 names."""
    return bias[0].index_select(1, index.flatten()).unflatten(1, index.shape).transpose(0, 1)


def drop_path_rates(last: float, num_blocks: int) -> list[float]:
    """Stochastic depth per block, growing linearly from 0 to ``last``."""
    return torch.linspace(0, last, num_blocks, device='cpu').tolist()
