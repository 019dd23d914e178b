"""Relative position bias of the attention (BEiT; paper, section 2.3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmbeitv2.layers.positions import (
    NUM_CLS_DISTANCES,
    num_relative_distances,
    resize_relative_position_table,
)


class RelativePositions(NamedTuple):
    """Where the tokens are, relative to each other. Computed once in a forward, for the tables of all blocks."""

    grid: tuple[int, int]  #: the patch grid (h, w) of the images
    index: Tensor  #: (1+N, 1+N) int64, the row of a table of this grid for every pair of tokens


# What the attention needs beside the tokens: a bias (1 or B, num_heads, N, N), or the positions with which each block
# looks up a table of its own, or None.
Context = Tensor | RelativePositions | None


class RelativePositionBias(nn.Module):
    """Learned bias per head and relative distance that all blocks share, with three more entries for the pairs that
    contain the CLS token.

    Args:
        grid_size: the patch grid (h, w) that the table is made for.
        num_heads: attention heads.
    """

    def __init__(self, grid_size: tuple[int, int], num_heads: int) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.relative_position_bias_table = empty_relative_position_table(grid_size, num_heads)

    def forward(self, positions: RelativePositions) -> Tensor:
        """The bias of every pair of tokens, (1, num_heads, 1+N, 1+N)."""
        return look_up(self.relative_position_bias_table, self.grid_size, positions)


def empty_relative_position_table(grid_size: tuple[int, int], num_heads: int) -> nn.Parameter:
    """A zero table (distances + 3, num_heads), as the reference initializes it."""
    return nn.Parameter(torch.zeros(num_relative_distances(grid_size) + NUM_CLS_DISTANCES, num_heads))


def look_up(table: Tensor, grid_size: tuple[int, int], positions: RelativePositions) -> Tensor:
    """Looks up a table for every pair of tokens; for images of another grid, the table is first resized.

    The form was chosen by its CPU time, forward and backward on one thread with 12 heads: 0.8 ms at 197 tokens and
    46 ms at 1025; ``F.embedding`` takes 3.7 and 145 ms, ``table[index]`` 3.7 and 101 ms. On a GPU, torch documents the
    gradient of ``index_select`` as deterministic under ``torch.use_deterministic_algorithms``.

    Args:
        table: (distances + 3, num_heads).
        grid_size: the patch grid (h, w) that the table is made for.
        positions: of the tokens.

    Returns:
        (1, num_heads, 1+N, 1+N).
    """
    table = resize_relative_position_table(table, grid_size, positions.grid, method='bicubic')
    bias = table.t().contiguous().index_select(1, positions.index.flatten())
    return bias.unflatten(1, positions.index.shape).unsqueeze(0)
