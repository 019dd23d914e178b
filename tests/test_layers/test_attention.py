"""Attention and its position bias against formulas written out."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmbeitv2.layers import Attention, RelativePositions, to_map
from mmbeitv2.layers.positions import relative_position_index
from tests.conftest import randomize

GRID = (3, 4)
POSITIONS = RelativePositions(GRID, relative_position_index(GRID))


def written_out(attention: Attention, x: torch.Tensor) -> torch.Tensor:
    """Every pair of tokens by itself, with the row of the table that belongs to its offset."""
    h, w = GRID
    table = attention.relative_position_bias_table
    places = [(i // w, i % w) for i in range(h * w)]
    bias = torch.empty(2, 1 + h * w, 1 + h * w, dtype=x.dtype)
    bias[:, 0, :], bias[:, :, 0], bias[:, 0, 0] = table[-3].unsqueeze(1), table[-2].unsqueeze(1), table[-1]
    for i, (y, column) in enumerate(places, start=1):
        for j, (other, to) in enumerate(places, start=1):
            bias[:, i, j] = table[(y - other + h - 1) * (2 * w - 1) + column - to + w - 1]
    bias_of_qkv = torch.cat((attention.q_bias, torch.zeros(32, dtype=x.dtype), attention.v_bias))
    q, k, v = ((x @ attention.qkv.weight.T + bias_of_qkv).view(2, -1, 3, 2, 16).permute(2, 0, 3, 1, 4)).unbind()
    weights = (q @ k.transpose(2, 3) / 4 + bias).softmax(-1)
    return attention.proj((weights @ v).transpose(1, 2).reshape(2, -1, 32))


def test_output_and_all_gradients_are_those_of_the_formula() -> None:
    attention = randomize(Attention(32, 2, GRID)).double()
    x, weights = torch.randn(2, 13, 32, dtype=torch.float64), torch.randn(2, 13, 32, dtype=torch.float64)
    expected, found = written_out(attention, x), attention(x, POSITIONS)
    torch.testing.assert_close(found, expected)
    parameters = list(attention.parameters())
    wanted = torch.autograd.grad((expected * weights).sum(), parameters)
    torch.testing.assert_close(torch.autograd.grad((found * weights).sum(), parameters), wanted)


def test_images_of_another_grid_see_a_resized_table() -> None:
    attention = randomize(Attention(32, 2, GRID))
    positions = RelativePositions((5, 2), relative_position_index((5, 2)))
    table = attention.relative_position_bias_table
    patches = F.interpolate(table[:-3].T.view(1, 2, 5, 7), size=(9, 3), mode='bicubic', align_corners=False)
    wanted = torch.cat((patches.view(2, 27).T, table[-3:]))[positions.rows].permute(2, 0, 1)[None]
    torch.testing.assert_close(attention.position_bias(positions), wanted)


def test_autocast_computes_in_its_precision() -> None:
    attention = randomize(Attention(32, 2, GRID), std=0.1)
    x = torch.randn(3, 13, 32)
    expected = attention(x, POSITIONS)
    with torch.autocast('cpu', torch.bfloat16):
        found = attention(x, POSITIONS)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)
    found.float().sum().backward()
    assert attention.relative_position_bias_table.grad.dtype == torch.float32


def test_a_feature_map_is_contiguous() -> None:
    """Else the gradients of convolutions after it take several times as long on the CPU."""
    patches = torch.randn(2, 12, 5)
    found = to_map(patches, (3, 4))
    assert found.is_contiguous()
    assert torch.equal(found[:, :, 1, 2], patches[:, 6])
