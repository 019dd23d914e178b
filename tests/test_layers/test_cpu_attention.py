"""Attention with a trainable bias against torch's own formula, in float64."""

from __future__ import annotations

import weakref

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmbeitv2.layers import Attention, RelativePositionBias, to_map, transformer
from mmbeitv2.layers.cpu_attention import trainable_bias_attention
from mmbeitv2.layers.transformer import FEW_TOKENS
from mmbeitv2.registry import MODELS
from tests.conftest import tiny_vit


@pytest.mark.parametrize('batch_of_bias', [1, 3])
@pytest.mark.parametrize('num_queries', [7, 4])
def test_output_and_all_gradients_are_those_of_torchs_formula(batch_of_bias: int, num_queries: int) -> None:
    shapes = [(3, 2, num_queries, 8), (3, 2, 7, 8), (3, 2, 7, 8), (batch_of_bias, 2, num_queries, 7)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    weights = torch.randn(shapes[0], dtype=torch.float64)
    q, k, v, bias = inputs
    with sdpa_kernel(SDPBackend.MATH):
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    wanted = torch.autograd.grad((expected * weights).sum(), inputs)
    found = trainable_bias_attention(*inputs)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad((found * weights).sum(), inputs), wanted)


def test_a_feature_map_is_contiguous() -> None:
    """Else the gradients of convolutions after it take several times as long."""
    patches = torch.randn(2, 12, 5)
    found = to_map(patches, (3, 4))
    assert found.is_contiguous()
    assert torch.equal(found[:, :, 1, 2], patches[:, 6])


def test_many_tokens_keep_no_probabilities_for_the_backward_and_few_take_the_formula() -> None:
    many, few = kept_sizes(FEW_TOKENS + 1), kept_sizes(FEW_TOKENS)
    assert max(many) < 2 * 2 * FEW_TOKENS**2 <= max(few)


def test_a_bias_of_each_layer_is_looked_up_anew_in_the_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which gives the gradients of the written out formula, and keeps no bias."""
    vit = MODELS.build(tiny_vit(img_size=96, rel_pos_bias='per_layer', out_type='raw'))
    images, num_tokens = torch.randn(2, 3, 64, 96), 1 + 8 * 12  # another grid than that of the tables
    for block in vit.blocks:
        torch.nn.init.normal_(block.attn.relative_position_bias_table)
    gradients, squares = [], []
    for few in (num_tokens, 0):
        kept: list[torch.Tensor] = []
        monkeypatch.setattr(transformer, 'FEW_TOKENS', few)
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):  # noqa: B023
            loss = vit(images)[0].square().sum()
        gradients.append(torch.autograd.grad(loss, list(vit.parameters()), allow_unused=True))
        squares.append(sum(x.is_floating_point() and x.shape[-2:] == (num_tokens, num_tokens) for x in kept))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-3)
    assert squares[1] == 0 < squares[0]
    loss = vit(images)[0].square().sum()
    with torch.no_grad():
        vit.blocks[0].attn.relative_position_bias_table.add_(1)
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        loss.backward()


@pytest.mark.parametrize('with_cp', [False, True])
def test_until_the_backward_nobody_holds_a_bias(monkeypatch: pytest.MonkeyPatch, with_cp: bool) -> None:
    biases: list[weakref.ref] = []
    look_up = RelativePositionBias.look_up

    def note(self: RelativePositionBias, *args: object) -> torch.Tensor:
        bias = look_up(self, *args)
        biases.append(weakref.ref(bias))
        return bias

    monkeypatch.setattr(RelativePositionBias, 'look_up', note)
    monkeypatch.setattr(transformer, 'FEW_TOKENS', 0)
    vit = MODELS.build(tiny_vit(rel_pos_bias='per_layer', out_type='raw', with_cp=with_cp))
    with torch.autograd.graph.save_on_cpu():  # whose tensors come back as others
        loss = vit(torch.randn(2, 3, 32, 32))[0].square().sum()
    assert len(biases) == 2
    assert all(bias() is None for bias in biases)
    loss.backward()
    assert all(block.attn.relative_position_bias_table.grad is not None for block in vit.blocks)


def kept_sizes(num_tokens: int) -> list[int]:
    """Elements of each tensor that the attention keeps for its backward, the bias left out."""
    attention, bias = Attention(32, 2), torch.randn(1, 2, num_tokens, num_tokens, requires_grad=True)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        attention(torch.randn(2, num_tokens, 32), bias)
    return [tensor.numel() for tensor in kept if tensor is not bias]


def test_autocast_computes_in_its_precision() -> None:
    attention, bias = Attention(32, 2), torch.randn(1, 2, 130, 130, requires_grad=True)
    x = torch.randn(3, 130, 32)
    expected = attention(x, bias)
    with torch.autocast('cpu', torch.bfloat16):
        found = attention(x, bias)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)
    found.float().sum().backward()
    assert bias.grad is not None
    assert bias.grad.dtype == torch.float32
