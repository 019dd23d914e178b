"""The confusion matrix of a segmentation, and the IoU computed from it."""

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

    Attributes:
        counts: (classes, classes) int64, a row for each true class, a column for each predicted one.
    """

    def __init__(self, classes: Sequence[str], ignore_index: int = 255, nan_to_num: float | None = None) -> None:
        self.classes = tuple(classes)
        self.ignore_index = ignore_index
        self.nan_to_num = nan_to_num
        self.counts = torch.zeros(len(classes), len(classes), dtype=torch.int64)

    def add(self, prediction: Tensor, truth: Tensor) -> float:
        """Adds an image.

        Args:
            prediction: class of each pixel, (H, W) int.
            truth: the same shape.

        Returns:
            The mean IoU of this image, in [0, 1], over the classes that are in it or predicted; NaN if no pixel counts.

        Raises:
            InputError: if a class is beyond those that have names.
        """
        counted = truth != self.ignore_index
        pairs = torch.stack((truth[counted], prediction[counted].to(truth))).long().cpu()
        num_classes = len(self.classes)
        for kind, labels in zip(('label', 'predicted class'), pairs, strict=True):
            beyond = labels[(labels < 0) | (labels >= num_classes)]
            if len(beyond):
                raise InputError(
                    f'the {kind} {int(beyond[0])} occurs, but the test set has {num_classes} classes, counted from '
                    '0. Use a config and a checkpoint with the same classes.'
                )
        counts = (pairs[0] * num_classes + pairs[1]).bincount(minlength=num_classes**2)
        counts = counts.unflatten(0, self.counts.shape)
        self.counts += counts
        iou = _scores(counts)['IoU']
        return float(np.nanmean(iou)) if len(pairs[0]) else float('nan')

    def scores(self) -> dict[str, np.ndarray]:
        """``IoU`` and ``Acc`` of each class, (classes,), and ``aAcc`` of all pixels, in [0, 1], by mmseg's rules."""
        return _scores(self.counts, self.nan_to_num)

    def summary(self) -> dict[str, float]:
        """``aAcc``, ``mIoU`` and ``mAcc`` in percent, as ``mmseg.IoUMetric`` gives them."""
        means = {name: float(np.round(np.nanmean(values) * 100, 2)) for name, values in self.scores().items()}
        return {'aAcc': means['aAcc'], 'mIoU': means['IoU'], 'mAcc': means['Acc']}

    def shares(self) -> np.ndarray:
        """Share of each true class that is taken for each class, (classes, classes); NaN for a class without pixels."""
        counts = self.counts.double().numpy()
        with np.errstate(invalid='ignore'):
            return counts / counts.sum(axis=1, keepdims=True)


def _scores(counts: Tensor, nan_to_num: float | None = None) -> dict[str, np.ndarray]:
    hits, predicted, labeled = counts.diag().double(), counts.sum(0).double(), counts.sum(1).double()
    union = predicted + labeled - hits
    return IoUMetric.total_area_to_metrics(hits, union, predicted, labeled, ['mIoU'], nan_to_num)
