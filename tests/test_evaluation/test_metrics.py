from __future__ import annotations

import math

import pytest
import torch

from mmbeitv2.evaluation import CodebookMetric, MaskedTokenAccuracy


def test_usage_and_perplexity_of_known_codes() -> None:
    metric = CodebookMetric(num_codes=8)
    metric.process(None, [dict(codes=torch.tensor([0, 0, 1, 1]), reconstruction_loss=torch.tensor([0.2]))])
    metric.process(None, [dict(codes=torch.tensor([2, 2, 2, 2]), reconstruction_loss=torch.tensor([0.4]))])
    result = metric.evaluate(2)
    assert result['tokenizer/codebook_usage'] == pytest.approx(37.5)
    assert result['tokenizer/reconstruction_loss'] == pytest.approx(0.3)
    entropy = -(2 * 0.25 * math.log(0.25) + 0.5 * math.log(0.5))
    assert result['tokenizer/perplexity'] == pytest.approx(math.exp(entropy))


def test_accuracy_counts_masked_patches_only() -> None:
    metric = MaskedTokenAccuracy(num_codes=50)
    mask = torch.tensor([True, True, False, True])
    sample = dict(codes=torch.tensor([1, 1, 2, 3]), predicted_codes=torch.tensor([1, 4, 2, 4]), mask=mask)
    metric.process(None, [sample])
    result = metric.evaluate(1)
    assert result == pytest.approx({'mim/accuracy': 100 / 3, 'mim/majority': 200 / 3, 'mim/chance': 2.0})
