from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmbeitv2.pretraining.mim_head import BEiTv2MIMHead


@pytest.mark.parametrize('shared_head', [True, False])
def test_losses_and_accuracies_of_both_branches(shared_head: bool) -> None:
    head = BEiTv2MIMHead(embed_dims=8, num_codes=5, shared_head=shared_head)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    features, aggregated, codes = torch.randn(6, 8), torch.randn(6, 8), torch.randint(5, (6,))
    losses = head.loss(features, aggregated, codes)
    second = head.lm_head if shared_head else head.cls_pt_lm_head
    for suffix, logits in (('', head.lm_head(features)), ('_cls', second(aggregated))):
        expected = (logits.logsumexp(1) - logits[torch.arange(6), codes]).mean()
        torch.testing.assert_close(losses[f'loss_mim{suffix}'], expected)
        torch.testing.assert_close(losses[f'acc_mim{suffix}'], 100 * (logits.argmax(1) == codes).float().mean())
    if shared_head:
        assert sorted(name for name, _ in head.named_parameters()) == ['lm_head.bias', 'lm_head.weight']


def test_without_aggregation_there_is_one_loss() -> None:
    head = BEiTv2MIMHead(embed_dims=8, num_codes=5)
    losses = head.loss(torch.randn(6, 8), None, torch.randint(5, (6,)))
    assert set(losses) == {'loss_mim', 'acc_mim'}
    assert F.relu(losses['loss_mim']) > 0
