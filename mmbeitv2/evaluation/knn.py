"""Classification by the nearest neighbors (Wu et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor


def knn_classify(bank: Tensor, labels: Tensor, queries: Tensor, num_neighbors: int, temperature: float) -> Tensor:
    """Classes (m,) of queries (m, C) by the weighted votes of their nearest neighbors in a bank (n, C), all unit."""
    num_classes = int(labels.max()) + 1
    predicted = []
    for chunk in queries.split(1024):
        similarity, nearest = (chunk @ bank.T).topk(min(num_neighbors, len(bank)), dim=1)
        votes = torch.zeros(len(chunk), num_classes, device=bank.device, dtype=similarity.dtype)
        votes.scatter_add_(1, labels[nearest], (similarity / temperature).exp())
        predicted.append(votes.argmax(dim=1))
    return torch.cat(predicted)
