"""Attention with a trainable bias against torch's own formula, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmbeitv2.models.layers import Attention
from mmbeitv2.models.layers.cpu_attention import trainable_bias_attention
from mmbeitv2.models.layers.transformer import FEW_TOKENS


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


def test_many_tokens_keep_no_probabilities_for_the_backward_and_few_take_the_formula() -> None:
    many, few = kept_sizes(FEW_TOKENS + 1), kept_sizes(FEW_TOKENS)
    assert max(many) < 2 * 2 * FEW_TOKENS**2 <= max(few)


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
