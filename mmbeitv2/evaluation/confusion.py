"""The confusion matrix of a segmentation, and mmseg's scores computed from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmbeitv2.errors import InputError


class Confusion:
    """Pixels by true and predicted class, added up over images.

    Args:
        classes: their names.
        ignore_index: label of pixels that do not count.
        nan_to_num: IoU and accuracy of a class that does not occur; None for NaN, which the means leave out.
    """

    def __init__(self, classes: Sequence[str], ignore_index: int = 255, nan_to_num: float | None = None) -> None:
        self.classes, self.ignore_index, self.nan_to_num = tuple(classes), ignore_index, nan_to_num
        #: (classes, classes) int64, a row for each true class, a column for each predicted one
        self.counts = torch.zeros(len(classes), len(classes), dtype=torch.int64)

    def add(self, prediction: Tensor, truth: Tensor) -> float:
        """Adds an image by the class of each pixel, both (H, W) int.

        Returns:
            The mean IoU of this image, in [0, 1], over the classes that are in it or predicted; NaN if no pixel counts.

        Raises:
            InputError: if a label is beyond the classes.
        """
        counted = truth != self.ignore_index
        truth, prediction = truth[counted].long().cpu(), prediction[counted].long().cpu()
        if not len(truth):
            return float('nan')
        size = len(self.classes)
        if len(beyond := truth[(truth < 0) | (truth >= size)]):
            raise InputError(
                f'the label {int(beyond[0])} occurs, but the test set has {size} classes, counted from 0. Correct the '
                'label image, or the classes of the test set.'
            )
        counts = (truth * size + prediction).bincount(minlength=size**2).unflatten(0, (size, size))
        self.counts += counts
        return float(np.nanmean(_scores(counts)['IoU']))

    def scores(self) -> dict[str, np.ndarray]:
        """``IoU`` and ``Acc`` of each class, (classes,), and ``aAcc`` of all pixels, in [0, 1], by mmseg's rules."""
        return _scores(self.counts, self.nan_to_num)

    def summary(self) -> dict[str, float]:
        """``aAcc``, ``mIoU`` and ``mAcc`` in percent, as ``mmseg.IoUMetric`` gives them."""
        means = {name: float(np.round(np.nanmean(values) * 100, 2)) for name, values in self.scores().items()}
        return {'aAcc': means['aAcc'], 'mIoU': means['IoU'], 'mAcc': means['Acc']}

    def shares(self) -> np.ndarray:
        """Share of each true class that is taken for each class, (classes, classes); NaN for a class without pixels."""
        counts = self.counts.double()
        return (counts / counts.sum(dim=1, keepdim=True)).numpy()


def _scores(counts: Tensor, nan_to_num: float | None = None) -> dict[str, np.ndarray]:
    hits, predicted, labeled = counts.diag().double(), counts.sum(0).double(), counts.sum(1).double()
    union = predicted + labeled - hits
    return IoUMetric.total_area_to_metrics(hits, union, predicted, labeled, ['mIoU'], nan_to_num)
