"""Positions are those of the grid that a file was made for, or the file is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner.checkpoint import get_state_dict, weights_to_cpu
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from torch import nn

from mmbeitv2.checkpoints import PretrainedBEiTv2
from mmbeitv2.checkpoints.grids import source_grid
from mmbeitv2.errors import InputError
from mmbeitv2.layers.positions import resize_pos_embed, resize_relative_position_table
from tests.conftest import tiny_vit

TABLE = 'rel_pos_bias.relative_position_bias_table'


def encoder(img_size: object, **changes: object) -> nn.Module:
    model = MODELS.build(tiny_vit(img_size=img_size, use_abs_pos_emb=True, **changes))
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def loaded(path: Path, img_size: object, source: tuple | None = None, **changes: object) -> nn.Module:
    model = encoder(img_size, **changes)
    PretrainedBEiTv2(str(path), source_grid=source)(model)
    return model


# (80, 208) in patches of 16 is (40, 104) in patches of 8: 5x13, whose table is as long as that of 8x8.
SIZES = [((40, 104), (80, 208)), ((16, 112), (16, 224)), ((64, 256), (64, 512)), ((56, 112), (112, 56)), (32, (32, 64))]


@pytest.mark.parametrize(('old', 'new'), SIZES)
@pytest.mark.parametrize('wrapper', [None, 'state_dict', 'ddp'])
def test_a_file_of_ours_tells_its_grid(tmp_path: Path, old: object, new: object, wrapper: str | None) -> None:
    source = encoder(old)
    state = source.state_dict()
    if wrapper == 'state_dict':  # as mmengine's Runner saves a model with a backbone
        whole = nn.ModuleDict(dict(backbone=source))
        state = dict(state_dict=weights_to_cpu(get_state_dict(whole)))
    elif wrapper == 'ddp':
        state = nn.ModuleDict(dict(module=torch.nn.ModuleDict(dict(backbone=source)))).state_dict()
    torch.save(state, tmp_path / 'ours.pth')
    model = loaded(tmp_path / 'ours.pth', new)
    grids = source.grid_size, model.grid_size
    assert torch.equal(model.pos_embed, resize_pos_embed(source.pos_embed, *grids))
    assert torch.equal(
        model.rel_pos_bias.relative_position_bias_table,
        resize_relative_position_table(source.rel_pos_bias.relative_position_bias_table, *grids),
    )


@pytest.mark.parametrize(('old', 'new'), SIZES[:3])
def test_a_file_that_does_not_tell_its_grid_is_refused_or_taken_by_the_option(
    tmp_path: Path, old: tuple, new: tuple
) -> None:
    source = encoder(old, rel_pos_bias='none')
    state = {key: value for key, value in source.state_dict().items() if key != TABLE}
    torch.save(state, tmp_path / 'foreign.pth')
    h, w = source.grid_size
    if old != (64, 256):  # 8x32 positions are taken for 16x16; the others are no square
        with pytest.raises(InputError, match='are not those of a square patch grid. Set source_grid='):
            loaded(tmp_path / 'foreign.pth', new, rel_pos_bias='none')
    for grid in ((h, w), [h, w]):
        model = loaded(tmp_path / 'foreign.pth', new, grid, rel_pos_bias='none')
        assert torch.equal(model.pos_embed, resize_pos_embed(source.pos_embed, (h, w), model.grid_size))
    with pytest.raises(InputError, match='are not those of 3x5 patches'):
        loaded(tmp_path / 'foreign.pth', new, (3, 5), rel_pos_bias='none')


@pytest.mark.parametrize(
    ('rows', 'positions', 'target', 'expected'),
    [
        (27 * 27, None, (32, 32), (14, 14)),  # the release at another size
        (27 * 27, 196, (7, 28), (14, 14)),  # both together
        (9 * 25, 65, (10, 26), None),
        (None, 196, (28, 28), (14, 14)),
        (9 * 25, None, (5, 13), (5, 13)),  # as long as the model's own
        (9 * 25, None, (10, 26), (8, 8)),  # or 5x13
        (None, 7 * 11, (14, 22), None),
    ],
)
def test_the_grid_is_the_models_or_a_square_one(
    rows: int | None, positions: int | None, target: tuple, expected: tuple | None
) -> None:
    state = {} if rows is None else {TABLE: torch.zeros(rows + 3, 2)}
    state |= {} if positions is None else {'pos_embed': torch.zeros(1, positions + 1, 4)}
    if expected is None:
        with pytest.raises(InputError, match='not those of a square patch grid'):
            source_grid(state, target, None, 'x')
    else:
        assert source_grid(state, target, None, 'x') == expected


@pytest.mark.parametrize(('old', 'new'), [((4, 4), (5, 5)), ((6, 6), (8, 8)), ((4, 6), (5, 8)), ((7, 5), (9, 6))])
def test_relative_tables_are_resized_as_in_timm(old: tuple, new: tuple) -> None:
    """timm interpolates linearly where the reference has a cubic spline, so both are right about a bilinear table."""

    def coordinates(n: int, outermost: int) -> torch.Tensor:
        """n distances on each side of 0, in a geometric progression that ends at the outermost of the target."""
        ratio = max(np.roots([1.0] * (n - 1) + [1.0 - outermost]).real)  # of 1 + q + ... + q**(n-1)
        steps = np.cumsum(ratio ** np.arange(n))
        return torch.from_numpy(np.concatenate((-steps[::-1], [0], steps))).float()

    y, x = (coordinates(a - 1, b - 1) for a, b in zip(old, new, strict=True))
    patches = torch.stack((y[:, None] * x, 1 - y[:, None] + 2 * x), dim=-1).flatten(0, 1)
    table = torch.cat((patches, torch.randn(3, 2)))
    shape = ((2 * new[0] - 1) * (2 * new[1] - 1) + 3, 2)
    expected = resize_rel_pos_bias_table(table, new, shape, old_window_size=old)
    torch.testing.assert_close(resize_relative_position_table(table, old, new), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(('old', 'new'), [((4, 4), (8, 8)), ((4, 6), (8, 12)), ((2, 8), (2, 16))])
def test_absolute_positions_are_resized_as_in_timm(old: tuple, new: tuple) -> None:
    positions = torch.randn(1, old[0] * old[1] + 1, 4)
    expected = resample_abs_pos_embed(positions, list(new), list(old), antialias=False)
    torch.testing.assert_close(resize_pos_embed(positions, old, new), expected)
