"""Votes of the nearest neighbors (Wu et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

# Queries that are compared with the bank at once.
_CHUNK = 256


def knn_votes(bank: Tensor, labels: Tensor, queries: Tensor, num_neighbors: int, temperature: float) -> Tensor:
    """Shares of the classes (m, K) of queries (m, C): those of their nearest neighbors in a bank (n, C), each weighted
    in proportion to exp(cosine / temperature). All features are of unit length.

    Args:
        bank: features (n, C).
        labels: of the bank (n,), int64.
        queries: features (m, C).
        num_neighbors: number of neighbors that vote; all if the bank has fewer.
        temperature: above 0.
    """
    votes = []
    for chunk in queries.split(_CHUNK):
        similarity, nearest = (chunk @ bank.T).topk(min(num_neighbors, len(bank)), dim=1)  # (chunk, k)
        weights = (similarity / temperature).softmax(dim=1)
        votes.append(weights.new_zeros(len(chunk), int(labels.max()) + 1).scatter_add_(1, labels[nearest], weights))
    return torch.cat(votes)
