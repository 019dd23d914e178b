"""Takes the mean that all features of a teacher share, and their unequal variances, out of them. Not in the paper."""

from __future__ import annotations

from typing import Any, Literal

import torch
from mmengine.dist import all_reduce, broadcast
from torch import Tensor, nn

from mmbeitv2.errors import InputError, require_known

Standardize = Literal['std', 'whiten']
# Variances are raised by this share of their mean, so that directions that hardly vary are not blown up to the others.
_RELATIVE_EPS = 1e-3


class Standardization(nn.Module):
    """Subtracts the mean of the features, and divides by their standard deviation.

    Mean and covariance are those of all patches of the first batches of the training, on all processes. From the first
    batch on, features are standardized by what was measured so far; after the last one, nothing changes any more. What
    was measured is part of the state dict. Before the first batch, features pass unchanged.

    Args:
        width: Dt of the features.
        method: ``'std'`` divides each channel by its standard deviation. ``'whiten'`` multiplies by the inverse square
            root of the covariance, after which channels are uncorrelated, too. Of all matrices that whiten, which only
            differ by a rotation that no cosine sees, it is the symmetric one (ZCA), as it is unique.
        num_batches: how many batches to measure.
    """

    count: Tensor
    mean: Tensor
    scatter: Tensor
    scale: Tensor
    batches_seen: Tensor

    def __init__(self, width: int, method: Standardize, num_batches: int) -> None:
        super().__init__()
        require_known(('standardize', method, Standardize))
        if num_batches < 1:
            raise InputError(f'standardize_batches={num_batches} must be at least 1')
        self.method, self.num_batches = method, num_batches
        shape = (width, width) if method == 'whiten' else (width,)
        self.register_buffer('count', torch.zeros(()))
        self.register_buffer('mean', torch.zeros(width))
        self.register_buffer('scatter', torch.zeros(shape))  # the covariance, or its diagonal, times the count
        self.register_buffer('scale', torch.eye(width) if method == 'whiten' else torch.ones(width))
        self.register_buffer('batches_seen', torch.tensor(0))
        self._batches_left: int | None = None  # read from the buffer once, as each read synchronizes the device

    def forward(self, features: Tensor) -> Tensor:
        """Standardizes features (B, N, Dt), and in training mode measures them first, in the first batches."""
        with torch.autocast(features.device.type, enabled=False):
            if self.training:
                self._measure(features.flatten(0, 1))
            features = features - self.mean
            return features @ self.scale if self.method == 'whiten' else features * self.scale

    def _measure(self, features: Tensor) -> None:
        """Merges a batch (n, Dt) of all processes into mean and scatter.

        A large mean leaves few digits to the sum of squares, so that scatters around means are merged instead (Chan,
        Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
        """
        if self._batches_left is None:
            self._batches_left = self.num_batches - int(self.batches_seen)
        if self._batches_left <= 0:
            return
        totals = torch.cat((features.sum(dim=0), features.new_tensor([len(features)])))
        all_reduce(totals)
        count, mean = totals[-1], totals[:-1] / totals[-1]
        scatter = self._products(features - mean)
        all_reduce(scatter)
        share = count / (self.count + count)
        shift = mean - self.mean
        self.scatter += scatter + self._products(shift[None]) * (self.count * share)
        self.mean += shift * share
        self.count += count
        self.scale.copy_(self._inverse_root(self.scatter / self.count))
        broadcast(self.scale)  # processes may round otherwise
        self.batches_seen += 1
        self._batches_left -= 1

    def _products(self, x: Tensor) -> Tensor:
        """The sum of the outer products of the rows (n, Dt), or its diagonal."""
        return x.T @ x if self.method == 'whiten' else x.square().sum(dim=0)

    def _inverse_root(self, covariance: Tensor) -> Tensor:
        if self.method == 'std':
            return (covariance + _RELATIVE_EPS * covariance.mean()).rsqrt()
        variances, directions = torch.linalg.eigh(covariance)
        variances = variances.clamp(min=0) + _RELATIVE_EPS * variances.mean()
        return directions * variances.rsqrt() @ directions.T

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._batches_left = None  # the buffer decides again
