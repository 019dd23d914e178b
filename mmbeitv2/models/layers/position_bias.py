"""Relative position bias of the attention (BEiT; paper, section 2.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmbeitv2.models.positions import (
    NUM_CLS_DISTANCES,
    num_relative_distances,
    relative_position_index,
    resize_relative_position_table,
)


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


def empty_relative_position_table(grid_size: tuple[int, int], num_heads: int) -> nn.Parameter:
    """A zero table (distances + 3, num_heads), as the reference initialises it."""
    return nn.Parameter(torch.zeros(num_relative_distances(grid_size) + NUM_CLS_DISTANCES, num_heads))
