"""What is kept between lookups of the relative position bias is never stale."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from mmengine.registry import MODELS

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.layers import RelativePositionBias, position_bias
from tests.conftest import tiny_vit

GRID, OTHER = (4, 4), (3, 5)


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The grid of every lookup."""
    found: list[tuple[int, int]] = []
    look_up = RelativePositionBias.look_up

    def count(self: RelativePositionBias, grid: tuple[int, int], *args: torch.Tensor) -> torch.Tensor:
        found.append(grid)
        return look_up(self, grid, *args)

    monkeypatch.setattr(RelativePositionBias, 'look_up', count)
    return found


def random_bias() -> RelativePositionBias:
    bias = RelativePositionBias(GRID, num_heads=2).eval()
    torch.nn.init.normal_(bias.relative_position_bias_table)
    return bias


def expected(bias: RelativePositionBias, grid: tuple[int, int] = GRID) -> torch.Tensor:
    with torch.no_grad():
        return bias.look_up(grid, bias.relative_position_bias_table)


def step(bias: RelativePositionBias) -> None:
    bias.relative_position_bias_table.grad = torch.ones_like(bias.relative_position_bias_table)
    torch.optim.AdamW(bias.parameters(), fused=True).step()


def load(bias: RelativePositionBias) -> None:
    bias.load_state_dict(random_bias().state_dict())


def write_through_data(bias: RelativePositionBias) -> None:
    bias.relative_position_bias_table.data.copy_(random_bias().relative_position_bias_table.data)  # as mmengine's EMA


def set_data(bias: RelativePositionBias) -> None:
    bias.relative_position_bias_table.data = random_bias().relative_position_bias_table.data


def replace(bias: RelativePositionBias) -> None:
    bias.relative_position_bias_table = random_bias().relative_position_bias_table


def to_double(bias: RelativePositionBias) -> None:
    bias.to(torch.float64)


@pytest.mark.parametrize('change', [step, load, write_through_data, set_data, replace, to_double])
@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_no_change_of_the_table_is_missed(change: Callable[[RelativePositionBias], None], mode: Callable) -> None:
    bias = random_bias()
    with mode():
        before = bias(GRID)
    change(bias)
    with mode():
        found = bias(GRID)
    wanted = expected(bias)
    assert found.dtype == wanted.dtype
    assert torch.equal(found, wanted)
    assert found.dtype != before.dtype or not torch.equal(found, before)


def test_a_table_is_looked_up_once_per_grid(lookups: list) -> None:
    vit: BEiTv2ViT = MODELS.build(tiny_vit(rel_pos_bias='per_layer', out_type='raw')).eval()
    for block in vit.blocks:
        torch.nn.init.normal_(block.attn.relative_position_bias_table)
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        first = vit(images)[0]
        assert torch.equal(vit(images)[0], first)
        assert lookups == [GRID] * 2  # of either block
        vit(images[..., :24])
        assert lookups == [GRID] * 2 + [(4, 3)] * 2
        assert torch.equal(vit(images)[0], first)
    with torch.no_grad():
        assert torch.equal(vit(images)[0], first)
    assert lookups == [GRID] * 2 + [(4, 3)] * 2 + [GRID] * 2
    torch.testing.assert_close(vit(images)[0], first)  # with gradients
    assert len(lookups) == 8


def test_what_was_kept_in_inference_mode_serves_a_frozen_backbone_in_training(lookups: list) -> None:
    bias = random_bias().requires_grad_(False)
    with torch.inference_mode():
        bias(GRID)
    x = torch.ones((), requires_grad=True)
    (bias(GRID) * x).sum().backward()
    torch.testing.assert_close(x.grad, expected(bias).sum())
    assert len(lookups) == 2  # one of them is expected()'s


def test_training_looks_up_anew_and_frees_what_was_kept(lookups: list) -> None:
    bias = random_bias()
    with torch.no_grad():
        bias(GRID)
    assert bias._kept
    bias.train()
    assert not bias._kept
    bias(GRID).sum().backward()
    assert bias.relative_position_bias_table.grad is not None
    assert len(lookups) == 2


def test_copies_and_files_hold_nothing_that_was_kept() -> None:
    bias = random_bias()
    keys, size = list(bias.state_dict()), len(pickle.dumps(bias))
    with torch.no_grad():
        bias(GRID)
    assert list(bias.state_dict()) == keys
    assert len(pickle.dumps(bias)) == size
    twin = copy.deepcopy(bias)
    load(twin)
    with torch.no_grad():
        assert torch.equal(twin(GRID), expected(twin))
        assert torch.equal(bias(GRID), expected(bias))


def test_what_is_kept_has_a_limit(monkeypatch: pytest.MonkeyPatch, lookups: list) -> None:
    bias, tables = random_bias(), [torch.randn(52, 2) for _ in range(3)]
    monkeypatch.setattr(position_bias, 'MAX_KEPT_BYTES', 2 * 4 * 2 * 17 * 17)  # two of them
    for _ in range(2):
        for table in tables:
            bias(GRID, table)
    assert len(lookups) == 4
    bias(OTHER, tables[0])
    assert len(bias._kept) == 1


def test_a_large_bias_of_a_single_layer_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    bias, num_bytes = random_bias(), 4 * 2 * 17 * 17
    for limit, num_kept in ((num_bytes - 1, 0), (num_bytes, 1)):
        monkeypatch.setattr(position_bias, 'MAX_KEPT_BYTES_OF_LAYER', limit)
        with torch.no_grad():
            bias(GRID, torch.randn(52, 2), until_next=True)
        assert len(bias._kept) == num_kept
    with torch.no_grad():
        bias(GRID)  # which all layers share
    assert len(bias._kept) == 2


def test_beyond_the_limit_only_what_is_needed_briefly_shares_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    bias, tables = random_bias(), [torch.randn(52, 2) for _ in range(3)]
    wanted = [bias.look_up(GRID, table) for table in tables]
    monkeypatch.setattr(position_bias, 'MAX_KEPT_BYTES', 0)

    def places(**options: object) -> int:
        found = []
        for table, value in zip(tables, wanted, strict=True):
            found.append(bias(GRID, table, **options))
            assert torch.equal(found[-1], value)
        return len({each.data_ptr() for each in found})

    with torch.no_grad():
        assert places() == 3
        with ThreadPoolExecutor(1) as other:
            theirs = other.submit(bias, GRID, tables[1], True).result()
            assert bias(GRID, tables[0], True).data_ptr() != theirs.data_ptr()
        assert places(until_next=True) == 1
        assert torch.equal(bias(OTHER, tables[0], until_next=True), bias.look_up(OTHER, tables[0]))
    assert places(until_next=True) == 3  # a backward may want them
    assert 'memory' not in vars(copy.deepcopy(bias)._own)


def test_the_compiler_sees_the_lookup() -> None:
    bias = random_bias()
    compiled = torch.compile(bias, fullgraph=True, backend='aot_eager')
    with torch.no_grad():
        torch.testing.assert_close(compiled(GRID), expected(bias))
        load(bias)
        torch.testing.assert_close(compiled(GRID), expected(bias))
