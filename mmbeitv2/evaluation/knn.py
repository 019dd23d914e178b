"""Votes of the nearest neighbors (Wu et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

# Queries that are compared with the bank at once.
_CHUNK = 256


def knn_votes(bank: Tensor, classes: Tensor, queries: Tensor, num_neighbors: int, temperature: float) -> Tensor:
    """Shares of the classes (m, K) of queries (m, C): those of their nearest neighbors in a bank (n, C), each weighted
    in proportion to exp(cosine / temperature). All features are of unit length.

    Args:
        bank: features (n, C).
        classes: of the bank: labels (n,) int64, or shares (n, K).
        queries: features (m, C).
        num_neighbors: number of neighbors that vote; all if the bank has fewer.
        temperature: above 0.
    """
    votes = []
    num_classes = int(classes.max()) + 1 if classes.ndim == 1 else classes.shape[1]
    for chunk in queries.split(_CHUNK):
        similarity, nearest = (chunk @ bank.T).topk(min(num_neighbors, len(bank)), dim=1)  # (chunk, k)
        weights = (similarity / temperature).softmax(dim=1)
        if classes.ndim == 1:  # (chunk, k, K) would be large for many classes
            votes.append(weights.new_zeros(len(chunk), num_classes).scatter_add_(1, classes[nearest], weights))
        else:
            votes.append(torch.einsum('mk,mkc->mc', weights, classes[nearest]))
    return torch.cat(votes)
