from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from mmbeitv2.errors import InputError
from mmbeitv2.interfaces import MaskedFeatures
from mmbeitv2.pretraining.cls_aggregation import CLSAggregationNeck
from tests.conftest import randomize, tiny_pretraining


def build(**settings: object) -> CLSAggregationNeck:
    return randomize(CLSAggregationNeck(MODELS.build(tiny_pretraining()['backbone']), **settings)).eval()


def features(**changes: object) -> MaskedFeatures:
    bias = torch.randn(1, 2, 17, 17)
    return MaskedFeatures(None, torch.randn(2, 1, 32), torch.randn(2, 16, 32), bias)._replace(**changes)


@pytest.mark.parametrize('shared_head', [True, False])
def test_its_blocks_run_over_the_last_cls_and_the_patches_of_layer_l(shared_head: bool) -> None:
    neck, given = build(shared_head=shared_head, depth=3), features()
    x = torch.cat((given.cls_token, given.layer_l_patches), dim=1)
    for block in neck.blocks:
        x = block(x, given.context)
    if not shared_head:
        x = neck.norm(x)
    index = torch.tensor([[3, 1, 15], [0, 5, 2]])
    expected = torch.stack([image[1:][row] for image, row in zip(x, index, strict=True)])
    torch.testing.assert_close(neck(given, index), expected)


def test_position_bias_reaches_its_blocks() -> None:
    neck, given, index = build(), features(), torch.arange(16).expand(2, -1)
    other = neck(given._replace(context=torch.zeros(1, 2, 17, 17)), index)
    assert not torch.allclose(neck(given, index), other, atol=1e-2)


def test_without_the_patches_of_layer_l_it_says_so() -> None:
    with pytest.raises(InputError, match='needs the patches after layer l'):
        build()(features(layer_l_patches=None), torch.zeros(2, 1, dtype=torch.long))
