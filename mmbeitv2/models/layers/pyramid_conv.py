"""A convolution of feature maps of several sizes, none of which is enlarged for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def conv3x3_of_pyramid(
    maps: Sequence[Tensor], weight: Tensor, bias: Tensor | None = None, align_corners: bool = False
) -> Tensor:
    """Resizes maps bilinearly to the size of the first, concatenates them and convolves them, 3x3 with padding 1.

    Resizing and convolving are linear; the one mixes positions, the other mixes channels as well. So the channels are
    mixed first, at the size that a map has, once for each of the nine positions of the kernel. Only then are the nine
    results resized, shifted and summed. A map of half the side takes a quarter of the products that its enlarged
    version would take, one of a quarter of the side takes a sixteenth, and the backward needs no enlarged map. The
    result is that of ``F.interpolate``, ``torch.cat`` and ``F.conv2d``, up to rounding.

    Args:
        maps: each (B, C_i, h_i, w_i).
        weight: (C_out, sum of C_i, 3, 3).
        bias: (C_out,).
        align_corners: see ``F.interpolate``.

    Returns:
        (B, C_out, h_0, w_0).
    """
    first, *kernels = weight.split([x.shape[1] for x in maps], dim=1)
    height, width = maps[0].shape[2:]
    result = None
    for x, kernel in zip(maps[1:], kernels, strict=True):
        rows = torch.cat(_shifted_resizing(x.shape[2], height, align_corners, x), dim=1)
        columns = _shifted_resizing(x.shape[3], width, align_corners, x)
        wide: Tensor | None = None
        for taps, matrix in zip(kernel.permute(3, 0, 2, 1), columns, strict=True):  # (C_out, 3 rows of the kernel, C_i)
            mixed = F.conv2d(x, taps.flatten(0, 1)[..., None, None])
            wide = _add(wide, mixed @ matrix.T.to(mixed.dtype))  # (B, C_out * 3, h_i, w_0)
        assert wide is not None
        wide = wide.unflatten(1, (-1, 3)).flatten(2, 3)  # (B, C_out, 3 * h_i, w_0)
        result = _add(result, rows.to(wide.dtype) @ wide)
    return _add(result, F.conv2d(maps[0], first, bias, padding=1))


def _add(total: Tensor | None, x: Tensor) -> Tensor:
    """The sum, in place: of ``total``, no backward needs the former value."""
    return x if total is None else total.add_(x)


def _shifted_resizing(side: int, target: int, align_corners: bool, like: Tensor) -> list[Tensor]:
    """Three matrices (target, side): they resize a vector and shift it by 1, 0 and -1, with zeros beyond its ends."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    identity = torch.eye(side, dtype=dtype, device=like.device)[None]
    matrix = F.interpolate(identity, size=target, mode='linear', align_corners=align_corners)[0].T
    return [F.pad(matrix, (0, 0, 1 - k, k - 1)) for k in range(3)]
