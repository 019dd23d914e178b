from __future__ import annotations

import math

import pytest
import torch

from mmbeitv2.evaluation import CodebookMetric, MaskedTokenAccuracy, SubsetAccuracy


def test_usage_and_perplexity_of_known_codes() -> None:
    metric = CodebookMetric()
    for codes, loss in (([0, 0, 1, 1], 0.2), ([2, 2, 2, 2], 0.4)):
        sample = dict(codes=torch.tensor(codes), reconstruction_loss=torch.tensor([loss]), num_codes=8)
        metric.process(None, [sample])
    result = metric.evaluate(2)
    assert result['tokenizer/codebook_usage'] == pytest.approx(37.5)
    assert result['tokenizer/reconstruction_loss'] == pytest.approx(0.3)
    entropy = -(2 * 0.25 * math.log(0.25) + 0.5 * math.log(0.5))
    assert result['tokenizer/perplexity'] == pytest.approx(math.exp(entropy))


def test_accuracy_counts_masked_patches_only() -> None:
    metric = MaskedTokenAccuracy()
    codes, predicted = torch.tensor([1, 1, 2, 3]), torch.tensor([1, 4, 2, 4])
    mask = torch.tensor([True, True, False, True])
    metric.process(None, [dict(codes=codes, predicted_codes=predicted, mask=mask, num_codes=50)])
    result = metric.evaluate(1)
    assert result == pytest.approx({'mim/accuracy': 100 / 3, 'mim/majority': 200 / 3, 'mim/chance': 2.0})


def test_only_classes_of_the_test_set_compete() -> None:
    metric = SubsetAccuracy(topk=(1, 2))
    scores = torch.tensor([0.5, 0.1, 0.3, 0.1])
    samples = [dict(pred_score=scores, gt_label=torch.tensor([label])) for label in (2, 3)]
    with pytest.raises(ValueError, match='needs to know the classes of the test set. Use mmbeitv2.ImageNetVariant'):
        metric.process(None, samples)
    metric.dataset_meta = dict(class_indices=[2, 3])
    metric.process(None, samples)
    assert metric.evaluate(2) == {'accuracy/top1': 50, 'accuracy/top2': 100}
    assert scores[0] == 0.5  # the model's own scores are left as they were
