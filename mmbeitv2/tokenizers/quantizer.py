"""Vector quantizer of VQ-KD: an l2-normalized codebook, learned by exponential moving average (paper, section 2.2)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce, broadcast, get_rank, get_world_size
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS

# Codes whose similarities to all tokens are held at once: about as many numbers as the encoder has for a token.
_CHUNK = 1024


def l2norm(x: Tensor) -> Tensor:
    """Scales the last dimension to unit length."""
    return F.normalize(x, dim=-1)


def nearest_codes(z: Tensor, codebook: Tensor) -> Tensor:
    """Index (n,) of the code (K, D) most similar to each vector (n, D).

    All have unit length, so that the largest cosine is the smallest distance.
    """
    # The codebook is split and not the tokens, whose number would be fixed in an exported model.
    best = [(z @ chunk.T).max(dim=1) for chunk in codebook.split(_CHUNK)]  # each of similarities and indices (n,)
    codes = torch.stack([indices + i * _CHUNK for i, (_, indices) in enumerate(best)])
    nearest = torch.stack([similarities for similarities, _ in best]).argmax(dim=0)
    return codes.gather(0, nearest[None])[0]


def count_and_sum(z: Tensor, codes: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    """Members per code (K,) and their sum (K, D), without the (n, K) one-hot matrix, over all ranks."""
    rows = F.pad(z, (1, 0), value=1.0)  # a member counts one; bincount would make the host wait for the device
    totals = z.new_zeros(num_codes, z.shape[1] + 1).index_add_(0, codes, rows)  # (K, 1 + D)
    all_reduce(totals)
    return totals[:, 0], totals[:, 1:]


def cosine_kmeans(samples: Tensor, num_clusters: int, num_iters: int = 10) -> Tensor:
    """Spherical k-means on one process: means (num_clusters, D) of samples (n, D), all of unit length.

    The means start from different samples drawn at random; a cluster that loses all members keeps its mean.
    """
    means = samples[torch.randperm(len(samples), device=samples.device)[:num_clusters]]
    for _ in range(num_iters):
        members = nearest_codes(samples, means)
        sums = torch.zeros_like(means).index_add_(0, members, samples)
        counts = torch.bincount(members, minlength=num_clusters)
        means = torch.where(counts[:, None] > 0, l2norm(sums), means)
    return means


class Codebook(nn.Module):
    """The code vectors. Buffers, not parameters, as no gradient reaches them; named as in the released files."""

    weight: Tensor
    initted: Tensor

    def __init__(self, num_codes: int, code_dim: int, is_initialized: bool) -> None:
        super().__init__()
        self.register_buffer('weight', l2norm(torch.randn(num_codes, code_dim)))
        self.register_buffer('initted', torch.tensor([float(is_initialized)]))


@MODELS.register_module()
class NormEMAVectorQuantizer(nn.Module):
    """Replaces each feature vector by its nearest code (paper, equations 1 and 2).

    Features and codes have unit length. Codes are not trained by gradients but by a moving average of their members;
    codes without a member in a batch are not changed. Everything runs in float32, under autocast too.

    Args:
        num_codes: size K of the codebook.
        code_dim: width D of a code.
        beta: weight of the commitment loss.
        decay: of the moving average, in [0, 1).
        kmeans_init: initialize by spherical k-means on the first training batch of all ranks; otherwise by random
            directions.
        kmeans_iters: number of k-means iterations.
        dead_code_steps: replace codes that had no member for this many steps in a row by random features of the current
            batch (of all ranks); None, as in the paper, leaves them unchanged.
    """

    cluster_size: Tensor
    steps_unused: Tensor

    def __init__(
        self,
        num_codes: int = 8192,
        code_dim: int = 32,
        beta: float = 1.0,
        decay: float = 0.99,
        kmeans_init: bool = True,
        kmeans_iters: int = 10,
        dead_code_steps: int | None = None,
    ) -> None:
        super().__init__()
        self.num_codes, self.code_dim = num_codes, code_dim
        self.beta, self.decay, self.kmeans_iters = beta, decay, kmeans_iters
        if dead_code_steps is not None and dead_code_steps < 1:
            raise InputError(f'dead_code_steps={dead_code_steps} must be at least 1, or None')
        self.dead_code_steps = dead_code_steps
        self.embedding = Codebook(num_codes, code_dim, is_initialized=not kmeans_init)
        # Moving average of the members per batch and code, as in the released files.
        self.register_buffer('cluster_size', torch.zeros(num_codes))
        if dead_code_steps is not None:
            self.register_buffer('steps_unused', torch.zeros(num_codes, dtype=torch.int64))
        self._is_initialized: bool | None = None  # read from the buffer once, as each read synchronizes the device

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantizes a feature map, and in training mode updates the codebook.

        Args:
            z: (B, D, h, w).

        Returns:
            Code vectors (B, D, h, w), with the gradient of ``z`` (straight through); the commitment loss, a scalar;
            the codes (B, h·w) int64.
        """
        height, width = z.shape[-2:]
        with torch.autocast(z.device.type, enabled=False):
            z = l2norm(z.float().flatten(2).transpose(1, 2))  # (B, D, h, w) -> (B, N, D)
            flat = z.detach().flatten(0, 1)  # (B·N, D)
            if self.training:
                self._initialize(z.detach())
            codes = nearest_codes(flat, self.embedding.weight)
            quantized = self.lookup(codes).view_as(z)
            loss = self.beta * F.mse_loss(z, quantized)
            if self.training:
                self._update_codebook(z.detach(), codes)
            quantized = z + (quantized - z).detach()
        quantized = quantized.transpose(1, 2).unflatten(2, (height, width))  # (B, N, D) -> (B, D, h, w)
        return quantized, loss, codes.view(z.shape[0], -1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Code vectors (..., D) of codes (...)."""
        return self.embedding.weight[codes]

    @torch.no_grad()
    def _update_codebook(self, z: Tensor, codes: Tensor) -> None:
        counts, sums = count_and_sum(z.flatten(0, 1), codes, self.num_codes)
        self.cluster_size.lerp_(counts, 1 - self.decay)
        self.embedding.weight.copy_(self._ema_update(counts, sums))
        if self.dead_code_steps is not None:
            self._expire_codes(z, counts > 0, self.dead_code_steps)

    def _ema_update(self, counts: Tensor, sums: Tensor) -> Tensor:
        """The code vectors after a batch, by its members per code (K,) and their sums (K, D)."""
        weight = self.embedding.weight
        means = torch.where(counts[:, None] > 0, l2norm(sums), weight)
        return l2norm(torch.lerp(means, weight, self.decay))

    def _expire_codes(self, z: Tensor, has_members: Tensor, max_steps_unused: int) -> None:
        """Replaces unused codes by features. Each code has one drawn for it, so that nothing waits for the device."""
        candidates = self._draw(z)
        self.steps_unused.add_(1).masked_fill_(has_members, 0)
        is_expired = self.steps_unused >= max_steps_unused
        self.embedding.weight.copy_(torch.where(is_expired[:, None], candidates, self.embedding.weight))
        self.steps_unused.masked_fill_(is_expired, 0)

    def _draw(self, z: Tensor) -> Tensor:
        """Features (K, D) drawn from those (B, N, D) of all ranks, as one process with the whole batch would."""
        world_size, (size, num_patches) = get_world_size(), z.shape[:2]
        drawn = torch.randint(world_size * size * num_patches, (self.num_codes,), device=z.device)
        broadcast(drawn)
        # One process has the images of all ranks by turns, see SeededSampler.
        image, patch = drawn // num_patches, drawn % num_patches
        is_own = image % world_size == get_rank()
        features = torch.where(is_own[:, None], z[image // world_size, patch], 0)
        all_reduce(features)
        return features

    @torch.no_grad()
    def _initialize(self, z: Tensor) -> None:
        """k-means over the samples of all ranks, computed once, so that every rank starts from the same codebook."""
        if self._is_initialized is None:
            self._is_initialized = bool(self.embedding.initted.item())
            broadcast(self.embedding.weight)  # each process may have drawn its own
        if self._is_initialized:
            return
        # (B, ranks, N, D): the images in the order in which one process has them, see SeededSampler.
        samples = torch.stack(all_gather(z), dim=1).flatten(0, 2)
        if len(samples) < self.num_codes:
            raise InputError(
                f'k-means cannot make {self.num_codes} codes from the {len(samples)} patches of the first batch. Use '
                f'a larger batch, set num_codes to at most {len(samples)}, or set kmeans_init=False.'
            )
        if get_rank() == 0:
            self.embedding.weight.copy_(cosine_kmeans(samples, self.num_codes, self.kmeans_iters))
        broadcast(self.embedding.weight)
        self.embedding.initted.fill_(1)
        self._is_initialized = True

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        if (steps := state_dict.pop(f'{prefix}idle_steps', None)) is not None:  # its name in version 1
            state_dict[f'{prefix}steps_unused'] = steps
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._is_initialized = None  # the buffer decides again
