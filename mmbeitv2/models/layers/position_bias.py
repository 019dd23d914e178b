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

# Biases that were looked up are kept up to this size: ViT-B at 512x512 takes 0.56 GiB, ViT-L there is beyond it.
MAX_KEPT_BYTES = 2**30


class RelativePositionBias(nn.Module):
    """Learned bias per head and relative distance, with three more entries for the pairs that contain the CLS token.

    On the CPU, a bias that needs no gradient is looked up once per patch grid and cached until a table or the grid
    changes.

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
        # id of a table -> grid, copy of the table, bias
        self._kept: dict[int, tuple[tuple[int, int], Tensor, Tensor]] = {}

    def forward(self, grid: tuple[int, int], table: Tensor | None = None) -> Tensor:
        """Looks up ``table``, or the shared one, for every pair of tokens: (1, num_heads, 1+N, 1+N)."""
        table = self.relative_position_bias_table if table is None else table
        assert table is not None
        if _needs_lookup(table):
            return self.look_up(grid, table)
        # Comparing all values (0.1 ms) sees every change; a version counter misses what is written through `.data`,
        # as mmengine's EMA does.
        kept_grid, kept_table, bias = self._kept.get(id(table), (None, table, table))
        if kept_grid != grid or kept_table.dtype != table.dtype or not torch.equal(kept_table, table):
            with torch.inference_mode(False), torch.no_grad():  # so that it can be used outside, too
                bias = self.look_up(grid, table)
                self._keep(grid, table, bias)
        return bias

    def look_up(self, grid: tuple[int, int], table: Tensor) -> Tensor:
        """As :meth:`forward`, computed anew."""
        index = self.relative_position_index
        if grid != self.grid_size:
            table = resize_relative_position_table(table, self.grid_size, grid, method='bicubic')
            index = relative_position_index(grid).to(table.device)
        if table.device.type == 'cpu':
            # In 43 ms instead of 128 for 1025 tokens and 12 heads on one thread, the gradient in 12 instead of 51. On
            # a GPU, the gradient of gather is not deterministic.
            rows = table.t().contiguous()
            return rows.gather(1, index.flatten().expand(len(rows), -1)).unflatten(1, index.shape).unsqueeze(0)
        bias = table[index.flatten()].unflatten(0, index.shape)  # (1+N, 1+N, heads)
        return bias.permute(2, 0, 1).unsqueeze(0).contiguous()  # (1, heads, 1+N, 1+N)

    def _keep(self, grid: tuple[int, int], table: Tensor, bias: Tensor) -> None:
        # Of another grid, nothing is kept; nor of this table.
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] == grid and key != id(table)}
        if sum(kept[2].nbytes for kept in self._kept.values()) + bias.nbytes <= MAX_KEPT_BYTES:
            self._kept[id(table)] = (grid, table.detach().clone(), bias)

    def train(self, mode: bool = True) -> RelativePositionBias:
        """Sets the mode; training frees what evaluation kept."""
        if mode:
            self._kept = {}
        return super().train(mode)

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_kept': {}}


def _needs_lookup(table: Tensor) -> bool:
    """Whether a bias that was kept may not be used: for a gradient, a graph, or a GPU, where a lookup costs little."""
    return (
        (table.requires_grad and torch.is_grad_enabled())
        or table.device.type != 'cpu'
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
    )


def empty_relative_position_table(grid_size: tuple[int, int], num_heads: int) -> nn.Parameter:
    """A zero table (distances + 3, num_heads), as the reference initializes it."""
    return nn.Parameter(torch.zeros(num_relative_distances(grid_size) + NUM_CLS_DISTANCES, num_heads))
