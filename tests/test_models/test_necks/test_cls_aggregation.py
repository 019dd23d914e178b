from __future__ import annotations

import math

import pytest
import torch

from mmbeitv2.models import CLSAggregationNeck


def test_sees_the_last_cls_and_the_early_patches_alone() -> None:
    neck = CLSAggregationNeck(embed_dims=32, num_heads=2, start_layer=1, backbone_depth=2).eval()
    neck.init_weights()
    early, last = torch.randn(2, 17, 32), torch.randn(2, 17, 32)
    main, aggregated = neck(early, last)
    assert main is last
    other_early, other_last = early.clone(), last.clone()
    other_early[:, 0], other_last[:, 1:] = 7, 7
    torch.testing.assert_close(neck(other_early, other_last)[1], aggregated)
    x = torch.cat((last[:, :1], early[:, 1:]), dim=1)
    for block in neck.blocks:
        x = block(x)
    torch.testing.assert_close(aggregated, x)


def test_rows_are_those_of_all_tokens() -> None:
    neck = CLSAggregationNeck(embed_dims=32, num_heads=2, start_layer=1, backbone_depth=2).eval()
    neck.init_weights()
    early, last = torch.randn(2, 17, 32), torch.randn(2, 17, 32)
    bias = torch.randn(1, 2, 17, 17)
    rows = torch.tensor([[3, 1, 16], [0, 5, 2]])
    _, whole = neck(early, last, bias)
    _, found = neck(early, last[:, :1], bias, rows)
    torch.testing.assert_close(found, torch.stack([image[row] for image, row in zip(whole, rows, strict=True)]))


def test_position_bias_reaches_its_blocks() -> None:
    neck = CLSAggregationNeck(embed_dims=32, num_heads=2, start_layer=1, backbone_depth=2).eval()
    neck.init_weights()
    tokens = torch.randn(2, 2, 17, 32)
    bias = torch.randn(1, 2, 17, 17)
    assert not torch.allclose(neck(*tokens)[1], neck(*tokens, bias)[1], atol=1e-6)


def test_initial_weights_and_drop_path_count_on_from_the_start_layer() -> None:
    neck = CLSAggregationNeck(drop_path_rate=0.1)  # ViT-B: l = 9, L = 12
    neck.init_weights()
    std = 0.02 * math.sqrt(1 - 2 * math.exp(-0.5) / math.sqrt(2 * math.pi) / math.erf(1 / math.sqrt(2)))
    for i, block in zip((10, 11), neck.blocks, strict=True):
        assert block.attn.proj.weight.std().item() == pytest.approx(std / math.sqrt(2 * i), rel=0.02)
        assert block.mlp.fc2.weight.std().item() == pytest.approx(std / math.sqrt(2 * i), rel=0.02)
        assert block.drop_path.drop_prob == pytest.approx(0.1 * (i - 1) / 11)
    deep = CLSAggregationNeck(embed_dims=32, num_heads=2, depth=3, start_layer=11, drop_path_rate=0.13)
    assert [block.drop_path.drop_prob for block in deep.blocks] == pytest.approx([0.11, 0.12, 0.13])
