from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmbeitv2.evaluation.confusion import Confusion

CLASSES = ('a', 'b', 'c', 'd', 'never')


@pytest.fixture
def maps() -> list[tuple[Tensor, Tensor]]:
    """Predictions and labels of different sizes; 255 is ignored, class 4 occurs in none, class 3 is only predicted."""
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for size in ((7, 9), (12, 5), (3, 3)):
        truth = torch.randint(0, 3, size, generator=generator)
        truth[torch.rand(size, generator=generator) < 0.2] = 255
        pairs.append((torch.randint(0, 4, size, generator=generator), truth))
    return pairs


def added(maps: list[tuple[Tensor, Tensor]], **settings: object) -> tuple[Confusion, list[float]]:
    confusion = Confusion(CLASSES, **settings)
    return confusion, [confusion.add(*pair) for pair in maps]


def scored_by_mmseg(maps: list[tuple[Tensor, Tensor]], **settings: object) -> dict[str, float]:
    metric = IoUMetric(**settings)
    metric.dataset_meta = dict(classes=CLASSES)
    for prediction, truth in maps:
        sample = dict(pred_sem_seg=dict(data=prediction[None]), gt_sem_seg=dict(data=truth[None]))
        metric.process({}, [sample])
    return metric.compute_metrics(metric.results)


@pytest.mark.parametrize('settings', [{}, dict(ignore_index=1), dict(nan_to_num=0)])
def test_means_are_those_of_mmsegs_metric(maps: list[tuple[Tensor, Tensor]], settings: dict) -> None:
    if 'ignore_index' in settings:
        maps = [(prediction, truth % 3) for prediction, truth in maps]
    assert added(maps, **settings)[0].summary() == pytest.approx(scored_by_mmseg(maps, **settings))


def test_scores_of_each_class_are_those_of_mmsegs_metric(maps: list[tuple[Tensor, Tensor]]) -> None:
    areas = [IoUMetric.intersect_and_union(*pair, len(CLASSES), 255) for pair in maps]
    intersect, union, _, label = (sum(part).numpy() for part in zip(*areas, strict=True))
    confusion, mious = added(maps)
    with np.errstate(invalid='ignore'):
        np.testing.assert_allclose(confusion.scores()['IoU'], intersect / union)
        np.testing.assert_allclose(confusion.scores()['Acc'], intersect / label)
    for pair, miou in zip(maps, mious, strict=True):
        assert 100 * miou == pytest.approx(scored_by_mmseg([pair])['mIoU'], abs=0.005)


def test_rows_are_true_classes_and_columns_predicted_ones(maps: list[tuple[Tensor, Tensor]]) -> None:
    confusion, _ = added(maps)
    prediction, truth = (torch.cat([pair[i].flatten() for pair in maps]) for i in (0, 1))
    assert confusion.counts[2, 3] == ((truth == 2) & (prediction == 3)).sum()
    shares = confusion.shares()
    np.testing.assert_allclose(shares[:3].sum(axis=1), 1)
    assert np.isnan(shares[3:]).all()


def test_a_label_beyond_the_classes_is_refused() -> None:
    confusion = Confusion(('a', 'b'))
    with pytest.raises(ValueError, match='the label 2 occurs, but the test set has 2 classes'):
        confusion.add(torch.tensor([[0]]), torch.tensor([[2]]))
    assert np.isnan(confusion.add(torch.tensor([[1]]), torch.tensor([[255]])))
    assert not confusion.counts.any()
