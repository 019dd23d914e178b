"""A hook that scores pretraining by segmentation, without training a head."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from mmbeitv2.engine.scoring import ScoreHook
from mmbeitv2.evaluation.patch_knn import classes_of, score_by_patches
from mmbeitv2.registry import HOOKS


@HOOKS.register_module()
class PatchKNNHook(ScoreHook):
    """Evaluates the backbone during pretraining by segmentation with nearest patches.

    Logs ``patch_knn_mIoU`` (percent), see :func:`mmbeitv2.evaluation.patch_knn.score_by_patches`.

    Args:
        bank_dataloader: config of a loader of labeled images, e.g. of a :class:`mmbeitv2.datasets.SegFolder`, whose
            pipeline resizes the image, then loads the labels, and ends with ``mmseg.PackSegInputs``.
        query_dataloader: the same for the images to score.
        max_per_class: largest number of patches per class in the bank, chosen with the seed of the run.
        num_neighbors: number of neighbors whose labels are averaged.
        temperature: a neighbor's weight is proportional to exp(cosine / temperature).
        kwargs: see :class:`ScoreHook`.
    """

    score_name, features = 'patch_knn_mIoU', 'patch_features'

    def __init__(
        self,
        bank_dataloader: dict,
        query_dataloader: dict,
        max_per_class: int = 1000,
        num_neighbors: int = 30,
        temperature: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(bank_dataloader, query_dataloader, **kwargs)
        self.max_per_class, self.num_neighbors, self.temperature = max_per_class, num_neighbors, temperature

    def check_loaders(self, bank: DataLoader, queries: DataLoader) -> None:
        classes_of(bank, queries)

    def score(self, model: Any, bank: DataLoader, queries: DataLoader, seed: int) -> float:
        scores = score_by_patches(model, bank, queries, self.max_per_class, self.num_neighbors, self.temperature, seed)
        return scores['mIoU']
