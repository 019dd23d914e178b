from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import make_interp_spline
from timm.layers.pos_embed_rel import gen_relative_position_index

from mmbeitv2.layers.positions import (
    num_relative_distances,
    relative_position_index,
    resize_relative_position_table,
)


@pytest.mark.parametrize('grid', [(14, 14), (3, 5), (1, 2)])
def test_index_is_that_of_timm(grid: tuple[int, int]) -> None:
    assert torch.equal(relative_position_index(grid), gen_relative_position_index(grid, class_token=True))


def test_geometric_resize_is_a_tensor_product_cubic_spline_on_the_progression() -> None:
    source, target = (14, 14), (32, 32)
    table = torch.randn(num_relative_distances(source) + 3, 2, dtype=torch.float64)
    resized = resize_relative_position_table(table, source, target, 'geometric')
    assert torch.equal(resized[-3:], table[-3:])
    # BEiT: distances 1, 1+q, 1+q+q^2, ... with q such that the 13th is 31.
    low, high = 1.0, 2.0
    for _ in range(100):
        q = (low + high) / 2
        low, high = (low, q) if sum(q**i for i in range(13)) > 31 else (q, high)
    steps = np.cumsum([q**i for i in range(13)])
    axis, wanted = np.concatenate((-steps[::-1], [0], steps)), np.arange(-31, 32).clip(-steps[-1], steps[-1])
    values = table[:-3].reshape(27, 27, 2).numpy()
    rows = make_interp_spline(axis, values, k=3, axis=0)(wanted)
    expected = make_interp_spline(axis, rows, k=3, axis=1)(wanted)
    np.testing.assert_allclose(
        resized[:-3].numpy().reshape(63, 63, 2), expected, atol=2e-3
    )  # its bisection ends at 1e-6
