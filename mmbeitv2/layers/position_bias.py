"""Relative position bias of the attention (BEiT; paper, section 2.3)."""

from __future__ import annotations

import threading
from functools import partial

import torch
from torch import Tensor, nn

from mmbeitv2.layers.cpu_attention import LookUp
from mmbeitv2.layers.positions import (
    NUM_CLS_DISTANCES,
    num_relative_distances,
    relative_position_index,
    resize_relative_position_table,
)

# Biases that were looked up are kept as long as all together take no more than this. With a bias for each layer, ViT-B
# takes 22 MiB at 224x224.
MAX_KEPT_BYTES = 2**27
# A larger bias is not kept if it belongs to a single layer. At 512x512, ViT-B would take 48 MiB for each layer, and a
# lookup into memory that is in use already takes only 10 ms on one thread (48 ms into new memory).
MAX_KEPT_BYTES_OF_LAYER = 2**23


class RelativePositionBias(nn.Module):
    """Learned bias per head and relative distance, with three more entries for the pairs that contain the CLS token.

    On the CPU, a bias that needs no gradient is looked up once per patch grid and cached until a table or the grid
    changes, as far as ``MAX_KEPT_BYTES`` and ``MAX_KEPT_BYTES_OF_LAYER`` allow.

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
        self._own = threading.local()  # so that two threads do not write into one memory

    def forward(self, grid: tuple[int, int], table: Tensor | None = None, until_next: bool = False) -> Tensor:
        """Looks up ``table``, or the shared one, for every pair of tokens.

        Args:
            grid: the patch grid (h, w) of the images.
            table: (distances + 3, num_heads).
            until_next: whether the result is needed only until the next call with ``until_next`` in this thread, which
                may then use its memory again. Without gradients only.

        Returns:
            (1, num_heads, 1+N, 1+N).
        """
        table = self.relative_position_bias_table if table is None else table
        assert table is not None
        # For a gradient, a graph, or on a GPU, where a lookup costs little, what was kept may not be used.
        if _wants_gradient(table) or _is_traced_or_on_gpu(table):
            return self.look_up(grid, table)
        # Comparing all values (0.1 ms) sees every change; a version counter misses what is written through `.data`,
        # as mmengine's EMA does.
        kept_grid, kept_table, bias = self._kept.get(id(table), (None, table, table))
        if kept_grid == grid and kept_table.dtype == table.dtype and torch.equal(kept_table, table):
            return bias
        until_next = until_next and not torch.is_grad_enabled()  # else a backward may want it
        with torch.inference_mode(False), torch.no_grad():  # so that it can be used outside, too
            if self._make_room(grid, table, MAX_KEPT_BYTES_OF_LAYER if until_next else MAX_KEPT_BYTES):
                bias = self.look_up(grid, table)
                self._kept[id(table)] = (grid, table.detach().clone(), bias)
                return bias
            return self.look_up(grid, table, self._memory(grid, table) if until_next else None)

    def lazily(self, grid: tuple[int, int], table: Tensor) -> Tensor | LookUp:
        """As :meth:`forward` with ``until_next``, or how to look it up, if a backward on the CPU would keep it."""
        if _wants_gradient(table) and not _is_traced_or_on_gpu(table):
            return LookUp(partial(self.look_up, grid), table)
        return self(grid, table, until_next=True)

    def look_up(self, grid: tuple[int, int], table: Tensor, out: Tensor | None = None) -> Tensor:
        """As :meth:`forward`, computed anew; on the CPU into ``out`` (num_heads, (1+N)²), if it is given."""
        index = self.relative_position_index
        if grid != self.grid_size:
            table = resize_relative_position_table(table, self.grid_size, grid, method='bicubic')
            index = relative_position_index(grid).to(table.device)
        if table.device.type == 'cpu':
            # In 43 ms instead of 128 for 1025 tokens and 12 heads on one thread, the gradient in 12 instead of 51. On
            # a GPU, the gradient of gather is not deterministic.
            rows = table.t().contiguous()
            bias = torch.gather(rows, 1, index.flatten().expand(len(rows), -1), out=out)
            return bias.unflatten(1, index.shape).unsqueeze(0)
        bias = table[index.flatten()].unflatten(0, index.shape)  # (1+N, 1+N, heads)
        return bias.permute(2, 0, 1).unsqueeze(0).contiguous()  # (1, heads, 1+N, 1+N)

    def _make_room(self, grid: tuple[int, int], table: Tensor, limit: int) -> bool:
        """Forgets what is of another grid, or was of this table; whether the bias of the table, if it takes no more
        bytes than ``limit``, can then be kept."""
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] == grid and key != id(table)}
        num_bytes = table.shape[1] * (1 + grid[0] * grid[1]) ** 2 * table.element_size()
        kept_bytes = sum(kept[2].nbytes for kept in self._kept.values())
        return num_bytes <= limit and kept_bytes + num_bytes <= MAX_KEPT_BYTES

    def _memory(self, grid: tuple[int, int], table: Tensor) -> Tensor:
        """Memory of this thread, (num_heads, (1+N)²)."""
        shape = (table.shape[1], (1 + grid[0] * grid[1]) ** 2)
        memory = getattr(self._own, 'memory', None)
        if memory is None or memory.shape != shape or memory.dtype != table.dtype:
            memory = self._own.memory = table.new_empty(shape)
        return memory

    def train(self, mode: bool = True) -> RelativePositionBias:
        """Sets the mode; training frees what evaluation kept."""
        if mode:
            self._kept, self._own = {}, threading.local()
        return super().train(mode)

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != '_own'} | {'_kept': {}}

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._own = threading.local()


def _wants_gradient(table: Tensor) -> bool:
    return table.requires_grad and torch.is_grad_enabled()


def _is_traced_or_on_gpu(table: Tensor) -> bool:
    return table.device.type != 'cpu' or torch.compiler.is_compiling() or torch.jit.is_tracing()


def empty_relative_position_table(grid_size: tuple[int, int], num_heads: int) -> nn.Parameter:
    """A zero table (distances + 3, num_heads), as the reference initializes it."""
    return nn.Parameter(torch.zeros(num_relative_distances(grid_size) + NUM_CLS_DISTANCES, num_heads))
