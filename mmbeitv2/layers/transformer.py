"""Patch embedding and transformer block of BEiT, in the order in which an image meets them.

Parameter names are those of the BEiT v2 release (and timm).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.layers.cpu_attention import LookUp, trainable_bias_attention
from mmbeitv2.layers.position_bias import empty_relative_position_table

# Up to this number of tokens the written out formula is faster, on the CPU with a trainable bias. Its CPU time over
# that of the fused kernel, forward and backward, one thread: 0.76 at 37 tokens, 0.94 at 101, 0.97 at 197, 1.4 at 1025.
FEW_TOKENS = 128


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
                f'{self.patch_size}x{self.patch_size}. Resize it first.'
            )
        if height % self.patch_size or width % self.patch_size:
            x = F.pad(x, (0, -width % self.patch_size, 0, -height % self.patch_size))
        x = self.proj(x)
        grid = (x.shape[2], x.shape[3])
        return x.flatten(2).transpose(1, 2), grid  # (B, D, h, w) -> (B, N, D)


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

    def forward(self, x: Tensor, rel_pos_bias: Tensor | LookUp | None = None, context: Tensor | None = None) -> Tensor:
        """Computes tokens.

        Args:
            x: (B, M, C), the tokens to compute.
            rel_pos_bias: (1 or B, num_heads, M, N), or how to look it up.
            context: (B, N, C), the tokens that they attend to; None for ``x`` itself. See :func:`select_queries`.

        Returns:
            (B, M, C).
        """
        y = self.attn(self.norm1(x), rel_pos_bias, None if context is None else self.norm1(context))
        x = x + self.drop_path(y if self.gamma_1 is None else self.gamma_1 * y)
        y = self.mlp(self.norm2(x))
        return x + self.drop_path(y if self.gamma_2 is None else self.gamma_2 * y)


class Attention(nn.Module):
    """Multi-head attention with an additive position bias; the keys have no bias (BEiT).

    Args:
        grid_size: patch grid of the module's own ``relative_position_bias_table``, which the backbone looks up (so
            that one index serves all blocks); None if it has none.
    """

    k_bias: Tensor

    def __init__(self, dim: int, num_heads: int, grid_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        if dim % num_heads:
            raise InputError(f'embed_dims={dim} is not divisible by num_heads={num_heads}')
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

    def forward(self, x: Tensor, rel_pos_bias: Tensor | LookUp | None = None, context: Tensor | None = None) -> Tensor:
        """As :meth:`Block.forward`."""
        q, k, v = self.project(x, context)
        if isinstance(rel_pos_bias, LookUp) and k.shape[2] <= FEW_TOKENS:
            rel_pos_bias = rel_pos_bias()
        if isinstance(rel_pos_bias, LookUp):
            x = trainable_bias_attention(q, k, v, rel_pos_bias)
        elif rel_pos_bias is None or not rel_pos_bias.requires_grad or x.device.type != 'cpu':
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=rel_pos_bias)
        elif k.shape[2] > FEW_TOKENS:
            x = trainable_bias_attention(q, k, v, rel_pos_bias)
        else:
            x = self.probabilities(q, k, rel_pos_bias) @ v
        return self.proj(x.transpose(1, 2).flatten(2))  # (B, heads, M, D) -> (B, M, C)

    def project(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of ``x``, keys and values of the context: (B, num_heads, M, D) and twice (B, num_heads, N, D)."""
        if context is None:
            bias = torch.cat((self.q_bias, self.k_bias, self.v_bias))
            q, k, v = self._split_heads(F.linear(x, self.qkv.weight, bias), 3)
            return q, k, v
        q_weight, kv_weight = self.qkv.weight.tensor_split((x.shape[-1],))
        (q,) = self._split_heads(F.linear(x, q_weight, self.q_bias), 1)
        k, v = self._split_heads(F.linear(context, kv_weight, torch.cat((self.k_bias, self.v_bias))), 2)
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


def to_map(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patches (B, N, C) as a feature map (B, C, h, w).

    On the CPU it is contiguous. A view would have its channels last in memory, and so would everything that
    convolutions make of it; the gradient of a convolution's weights then takes several times as long there.
    """
    x = patches.transpose(1, 2).unflatten(2, grid)
    return x.contiguous() if x.device.type == 'cpu' else x


def select_queries(x: Tensor, rel_pos_bias: Tensor | None, index: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    """The arguments with which a block computes only some tokens, which attend to all tokens.

    Args:
        x: all tokens (B, N, C).
        rel_pos_bias: (1, num_heads, N, N), or None.
        index: (B, M) int64, the tokens to compute.

    Returns:
        The arguments of :meth:`Block.forward`: the tokens (B, M, C), their rows of the bias (B, num_heads, M, N), and
        ``x`` as the context.
    """
    queries = x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
    if rel_pos_bias is not None:
        rows = rel_pos_bias[0].index_select(1, index.flatten()).unflatten(1, index.shape)  # (heads, B, M, N)
        rel_pos_bias = rows.transpose(0, 1)
    return queries, rel_pos_bias, x


def drop_path_rates(last: float, num_blocks: int) -> list[float]:
    """Stochastic depth per block, growing linearly from 0 to ``last``."""
    return torch.linspace(0, last, num_blocks, device='cpu').tolist()
