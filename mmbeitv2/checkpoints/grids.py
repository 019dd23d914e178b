"""Finds the patch grid that the position parameters of a file were made for, which their number alone rarely tells."""

from __future__ import annotations

from mmbeitv2.checkpoints.formats import TABLE, StateDict
from mmbeitv2.errors import InputError
from mmbeitv2.layers.positions import NUM_CLS_DISTANCES

Grid = tuple[int, int]


def source_grid(state: StateDict, target: Grid, told: Grid | None, path: str) -> Grid | None:
    """The grid (h, w) of the positions of an encoder; None if it has none.

    A grid of h x w patches has h·w absolute positions and a table of (2h-1)·(2w-1) + 3 relative ones. Where the file
    does not tell its grid and several fit these numbers, it is the model's own; else one that has a side or the aspect
    ratio of the model's, or the square one, if only one of these exists.

    Args:
        state: weights of the encoder under its own names.
        target: the model's grid.
        told: the grid, where the file or the user tells it.
        path: of the file.

    Raises:
        InputError: if no grid fits, if the one that was told does not, or if it cannot be decided between several.
    """
    counts = {key: len(value) - NUM_CLS_DISTANCES for key, value in state.items() if key.endswith(TABLE)}
    choices = [_grids_of(count, is_table=True) for count in set(counts.values())]
    if 'pos_embed' in state:
        counts['pos_embed'] = state['pos_embed'].shape[1] - 1
        choices.append(_grids_of(counts['pos_embed'], is_table=False))
    if not counts:
        return None
    fitting = sorted(set.intersection(*choices))
    key = next(iter(counts))
    if not fitting or (told is not None and told not in fitting):
        wanted = 'any grid of patches' if told is None else f'a grid of {told[0]}x{told[1]} patches'
        raise InputError(
            f'{key} of checkpoint {path!r} has {counts[key]} positions, which do not belong to {wanted}. Use another '
            'copy of the file, or set source_grid of PretrainedBEiTv2 to the grid (h, w) that it was trained with.'
        )
    if told is not None or target in fitting:
        return told or target
    square = [grid for grid in fitting if grid[0] == grid[1]]
    if square and target[0] == target[1]:
        return square[0]
    alike = [g for g in fitting if g[0] * target[1] == g[1] * target[0] or g[0] == target[0] or g[1] == target[1]]
    likely = sorted({*square, *alike}) or fitting
    if len(likely) > 1:
        names = ', '.join(f'{h}x{w}' for h, w in likely)
        raise InputError(
            f'checkpoint {path!r} does not tell its patch grid, and its {counts[key]} positions in {key} may be those '
            f'of {names} patches. Set source_grid=(h, w) of PretrainedBEiTv2 to the grid that it was trained with.'
        )
    return likely[0]


def _grids_of(count: int, is_table: bool) -> set[Grid]:
    """Grids that have this number of absolute positions, or of distances between patches."""
    pairs = [(a, count // a) for a in range(1, count + 1) if count % a == 0]
    return {((a + 1) // 2, (b + 1) // 2) for a, b in pairs if a % 2 and b % 2} if is_table else set(pairs)
