"""Attention with a trainable additive bias on the CPU, for which torch has no fused kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class LookUp:
    """In place of a bias: how to compute it, so that nobody keeps it until the backward.

    Args:
        function: gives the bias (1, num_heads, M, N) of a table.
        table: (distances + 3, num_heads).
    """

    def __init__(self, function: Callable[[Tensor], Tensor], table: Tensor) -> None:
        self.function, self.table = function, table

    def __call__(self) -> Tensor:
        return self.function(self.table)


def trainable_bias_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | LookUp) -> Tensor:
    """``F.scaled_dot_product_attention`` on the CPU, where ``bias`` requires a gradient.

    torch's fused kernel gives no gradient of the bias, so ``F.scaled_dot_product_attention`` falls back to the written
    out formula, which keeps the probabilities of every layer for the backward. Here the forward is the fused kernel,
    and the backward computes the probabilities anew from the row sums that the kernel returns. Measured on one thread
    with 12 heads, forward and backward, CPU time of the formula over ours: 1.4 at 1025 tokens, 1.0 at 197 (less for
    fewer); and ViT-B at 1025 tokens keeps 0.6 GB less per image.

    Args:
        q: (B, num_heads, M, D).
        k: (B, num_heads, N, D).
        v: likewise.
        bias: (1 or B, num_heads, M, N), or how to look it up, which the backward then does again.

    Returns:
        (B, num_heads, M, D).
    """
    look_up = bias if isinstance(bias, LookUp) else None
    bias = bias() if isinstance(bias, LookUp) else bias
    return _TrainableBiasAttention.apply(q, k, v, bias.to(q.dtype), look_up)


class _TrainableBiasAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, look_up: LookUp | None) -> Tensor:
        output, logsumexp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, attn_mask=bias.expand(len(q), -1, -1, -1)
        )
        ctx.look_up = None if look_up is None else look_up.function
        ctx.save_for_backward(q, k, v, bias if look_up is None else look_up.table, output, logsumexp)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        q, k, v, bias, output, logsumexp = ctx.saved_tensors
        if ctx.look_up is not None:
            bias = ctx.look_up(bias).to(q.dtype)
        scale = q.shape[-1] ** -0.5
        q = q * scale
        # In place, as each of these is as large as the bias of the whole batch: (B, num_heads, M, N).
        probabilities = (q @ k.transpose(-2, -1)).add_(bias).sub_(logsumexp.unsqueeze(-1)).exp_()
        grad_v = probabilities.transpose(-2, -1) @ grad
        # The gradient of a softmax: p (g - sum p g), where the sum over the keys is that of output x gradient.
        grad_logits = grad @ v.transpose(-2, -1)
        grad_logits.sub_((output * grad).sum(-1, keepdim=True)).mul_(probabilities)
        grad_q = (grad_logits @ k).mul_(scale)
        grad_k = grad_logits.transpose(-2, -1) @ q
        return grad_q, grad_k, grad_v, grad_logits.sum_to_size(bias.shape), None
