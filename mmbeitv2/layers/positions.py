"""Geometry of position parameters: the index of relative positions, and resizing to another patch grid."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import RectBivariateSpline
from torch import Tensor

# Entries of a relative position bias table beyond the patch distances: CLS to patch, patch to CLS, CLS to CLS.
NUM_CLS_DISTANCES = 3

ResizeMethod = Literal['geometric', 'bicubic']


def num_relative_distances(grid: tuple[int, int]) -> int:
    """Number of different offsets between two patches of an (h, w) grid."""
    return (2 * grid[0] - 1) * (2 * grid[1] - 1)


def relative_position_index(grid: tuple[int, int], device: torch.device | str | None = None) -> Tensor:
    """Row of the bias table for every pair of tokens, CLS first: (1+N, 1+N) int64."""
    h, w = grid
    rows = torch.arange(h, device=device)[:, None].expand(h, w).flatten()
    columns = torch.arange(w, device=device).repeat(h)
    distances = num_relative_distances(grid)
    index = rows.new_full((1 + h * w, 1 + h * w), distances)  # from CLS to the patches
    index[1:, 1:] = (rows[:, None] - rows + h - 1) * (2 * w - 1) + columns[:, None] - columns + w - 1
    index[1:, 0] = distances + 1
    index[0, 0] = distances + 2
    return index


def resize_pos_embed(pos_embed: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Resizes an absolute position embedding (1, 1+N, C) to another grid by bicubic interpolation; CLS is untouched."""
    if source == target:
        return pos_embed
    patches = pos_embed[:, 1:].transpose(1, 2).unflatten(2, source)  # (1, N, C) -> (1, C, h, w)
    patches = F.interpolate(patches.float(), size=target, mode='bicubic', align_corners=False)
    patches = patches.flatten(2).transpose(1, 2).to(pos_embed.dtype)
    return torch.cat((pos_embed[:, :1], patches), dim=1)


def resize_relative_position_table(
    table: Tensor, source: tuple[int, int], target: tuple[int, int], method: ResizeMethod = 'geometric'
) -> Tensor:
    """Resizes a relative position bias table to another patch grid; its three CLS entries are untouched.

    Args:
        table: (distances + 3, num_heads) for the grid ``source``.
        source: patch grid (h, w) of the table.
        target: patch grid (h, w) wanted.
        method: ``'geometric'``: the reference's cubic spline, in which the source's distances are spread in a
            geometric progression, so that near ones keep their values (BEiT, released code); ``'bicubic'``: plain
            and differentiable.

    Returns:
        A table (distances + 3, num_heads) for the grid ``target``.
    """
    if source == target:
        return table
    patches, cls = table[:-NUM_CLS_DISTANCES], table[-NUM_CLS_DISTANCES:]
    shape, wanted = (2 * source[0] - 1, 2 * source[1] - 1), (2 * target[0] - 1, 2 * target[1] - 1)
    patches = patches.unflatten(0, shape).permute(2, 0, 1)  # (heads, 2h-1, 2w-1)
    if method == 'bicubic':
        patches = F.interpolate(patches.unsqueeze(0).float(), size=wanted, mode='bicubic', align_corners=False)[0]
    else:
        y, x = (_geometric_coordinates(old, new) for old, new in zip(shape, wanted, strict=True))
        dy, dx = (np.arange(new) - new // 2 for new in wanted)
        values = patches.detach().double().cpu().numpy()
        if 1 in shape:  # a grid of one row knows no vertical distance but 0: all get its bias
            y, x = (np.array([-1.0, 0.0, 1.0]) * max(new, 1) if len(axis) == 1 else axis
                    for axis, new in zip((y, x), wanted, strict=True))  # fmt: skip
            values = np.broadcast_to(values, (len(values), len(y), len(x)))
        order = [min(3, len(axis) - 1) for axis in (y, x)]
        resized = [RectBivariateSpline(y, x, head, kx=order[0], ky=order[1])(dy, dx) for head in values]
        patches = torch.from_numpy(np.stack(resized))
    return torch.cat((patches.permute(1, 2, 0).flatten(0, 1).to(cls), cls))


def _geometric_coordinates(source: int, target: int) -> np.ndarray:
    """Where ``source`` distances lie among ``target`` ones: symmetric, steps growing by a constant factor.

    The factor is found by bisection between 1.01 and 1.5, as in the reference, so that the outermost distance of the
    source falls on that of the target. If the table shrinks, it stays at 1.01: the distances keep their places, nearly,
    and those beyond the target are not used.
    """
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio ** (source // 2)) / (1 - ratio) > target // 2:
            high = ratio
        else:
            low = ratio
    steps = np.cumsum(ratio ** np.arange(source // 2))
    return np.concatenate((-steps[::-1], [0.0], steps))
