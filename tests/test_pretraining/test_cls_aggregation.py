from __future__ import annotations

import pytest
import torch

from mmbeitv2.pretraining.cls_aggregation import CLSAggregationNeck


def build(**changes: object) -> CLSAggregationNeck:
    neck = CLSAggregationNeck(**(dict(embed_dims=32, num_heads=2, start_layer=1, backbone_depth=2) | changes))
    neck.init_weights()
    return neck.eval()


@pytest.mark.parametrize('is_shared', [True, False])
def test_its_blocks_run_over_the_last_cls_and_the_early_patches(is_shared: bool) -> None:
    neck, (cls_token, early) = build(is_shared=is_shared), (torch.randn(2, 1, 32), torch.randn(2, 16, 32))
    bias = torch.randn(1, 2, 17, 17)
    x = torch.cat((cls_token, early), dim=1)
    for block in neck.blocks:
        x = block(x, bias)
    if not is_shared:
        x = torch.nn.functional.layer_norm(x, (32,), eps=1e-6)
    torch.testing.assert_close(neck(cls_token, early, bias), x[:, 1:])


def test_masked_patches_are_those_of_all() -> None:
    neck, (cls_token, early) = build(), (torch.randn(2, 1, 32), torch.randn(2, 16, 32))
    bias = torch.randn(1, 2, 17, 17)
    index = torch.tensor([[3, 1, 15], [0, 5, 2]])
    whole, found = neck(cls_token, early, bias), neck(cls_token, early, bias, index)
    torch.testing.assert_close(found, torch.stack([image[row] for image, row in zip(whole, index, strict=True)]))


def test_position_bias_reaches_its_blocks() -> None:
    neck, inputs = build(), (torch.randn(2, 1, 32), torch.randn(2, 16, 32))
    assert not torch.allclose(neck(*inputs), neck(*inputs, torch.randn(1, 2, 17, 17)), atol=1e-6)


@pytest.mark.parametrize(
    ('depth', 'start_layer', 'backbone_depth', 'last', 'rates'),
    [
        (2, 9, 12, 0.11, [0.09, 0.10]),  # ViT-B: twelve rates, from 0 to 0.11
        (3, 11, 12, 0.13, [0.11, 0.12, 0.13]),  # beyond the backbone: fourteen, from 0 to 0.13
    ],
)
def test_drop_path_counts_on_from_the_start_layer(
    depth: int, start_layer: int, backbone_depth: int, last: float, rates: list[float]
) -> None:
    neck = build(depth=depth, start_layer=start_layer, backbone_depth=backbone_depth, drop_path_rate=last)
    assert [block.drop_path.drop_prob for block in neck.blocks] == pytest.approx(rates)
