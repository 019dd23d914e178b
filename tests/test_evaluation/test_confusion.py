from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmbeitv2.errors import InputError
from mmbeitv2.evaluation.confusion import Confusion

CLASSES = ('a', 'b', 'c', 'd', 'never')
Maps = list[tuple[Tensor, Tensor]]


@pytest.fixture
def maps() -> Maps:
    """Predictions and labels of different sizes; 255 is ignored, class 4 occurs in none, class 3 is only predicted."""
    pairs = []
    for size in ((7, 9), (12, 5), (3, 3)):
        truth = torch.randint(0, 3, size)
        truth[torch.rand(size) < 0.2] = 255
        pairs.append((torch.randint(0, 4, size), truth))
    return pairs


def scored_by_mmseg(maps: Maps, **settings: object) -> dict[str, float]:
    metric = IoUMetric(**settings)
    metric.dataset_meta = dict(classes=CLASSES)
    for prediction, truth in maps:
        sample = dict(pred_sem_seg=dict(data=prediction[None]), gt_sem_seg=dict(data=truth[None]))
        metric.process({}, [sample])
    return metric.compute_metrics(metric.results)


@pytest.mark.parametrize('settings', [{}, dict(ignore_index=1), dict(nan_to_num=0)])
def test_means_are_those_of_mmsegs_metric(maps: Maps, settings: dict) -> None:
    if 'ignore_index' in settings:
        maps = [(prediction, truth % 3) for prediction, truth in maps]
    confusion = Confusion(CLASSES, **settings)
    mious = [confusion.add(*pair) for pair in maps]
    assert confusion.summary() == pytest.approx(scored_by_mmseg(maps, **settings))
    if not settings:
        of_images = [scored_by_mmseg([pair])['mIoU'] for pair in maps]
        np.testing.assert_allclose(np.multiply(mious, 100), of_images, atol=0.005)


def test_rows_are_true_classes_and_columns_predicted_ones(maps: Maps) -> None:
    confusion = Confusion(CLASSES)
    for pair in maps:
        confusion.add(*pair)
    prediction, truth = (torch.cat([pair[i].flatten() for pair in maps]) for i in (0, 1))
    assert confusion.counts[2, 3] == ((truth == 2) & (prediction == 3)).sum()
    shares = confusion.shares()
    np.testing.assert_allclose(shares[:3].sum(axis=1), 1)
    assert np.isnan(shares[3:]).all()
    np.testing.assert_allclose(confusion.scores()['Acc'], shares.diagonal())


def test_a_label_beyond_the_classes_is_refused() -> None:
    confusion = Confusion(('a', 'b'))
    with pytest.raises(InputError, match='the label 2 occurs, but the test set has 2 classes'):
        confusion.add(torch.tensor([[0]]), torch.tensor([[2]]))
    assert np.isnan(confusion.add(torch.tensor([[1]]), torch.tensor([[255]])))
