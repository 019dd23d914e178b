"""Finds the patch grid that the position parameters of a file were made for, which their number alone rarely tells."""

from __future__ import annotations

import math

from mmbeitv2.checkpoints.formats import TABLE, StateDict
from mmbeitv2.errors import InputError
from mmbeitv2.layers.positions import NUM_CLS_DISTANCES

Grid = tuple[int, int]


def source_grid(state: StateDict, target: Grid, told: Grid | None, path: str) -> Grid | None:
    """The grid (h, w) of the positions of an encoder; None if it has none.

    A grid of h x w patches has h·w absolute positions and a table of (2h-1)·(2w-1) + 3 relative ones. Where the file
    does not tell its grid, it is the model's own if that fits, or else a square one.

    Args:
        state: weights of the encoder under its own names.
        target: the model's grid.
        told: the grid, where the file or the user tells it.
        path: of the file.

    Raises:
        InputError: if none of these grids fits, or the one that was told does not.
    """
    positions = {key: (len(value) - NUM_CLS_DISTANCES, True) for key, value in state.items() if key.endswith(TABLE)}
    if 'pos_embed' in state:
        positions['pos_embed'] = (state['pos_embed'].shape[1] - 1, False)
    if not positions:
        return None
    key, (count, is_table) = next(iter(positions.items()))
    side = (math.isqrt(count) + 1) // 2 if is_table else math.isqrt(count)
    for h, w in [told] if told else [target, (side, side)]:
        counts = {True: (2 * h - 1) * (2 * w - 1), False: h * w}
        if all(counts[is_table] == number for number, is_table in positions.values()):
            return h, w
    wanted = f'{told[0]}x{told[1]} patches' if told else 'a square patch grid'
    raise InputError(
        f'the {count} positions of {key} in checkpoint {path!r} are not those of {wanted}. Set '
        'source_grid=(h, w) of PretrainedBEiTv2 to the grid that it was trained with.'
    )
