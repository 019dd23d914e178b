from __future__ import annotations

import pytest
import timm
import torch
from mmengine.registry import MODELS

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.errors import InputError
from mmbeitv2.layers.position_bias import RelativePositions
from mmbeitv2.layers.positions import relative_position_index
from mmbeitv2.visualization.attention import attention_of_layer
from tests.conftest import randomize, tiny_vit


def test_attention_is_the_softmax_of_queries_on_keys_with_the_bias() -> None:
    backbone = randomize(MODELS.build(tiny_vit(rel_pos_bias='per_layer', out_type='raw', final_norm='none'))).eval()
    images = torch.randn(2, 3, 32, 32)
    found = attention_of_layer(backbone, images, layer=1)
    first, second = backbone.blocks
    positions = RelativePositions((4, 4), relative_position_index((4, 4)))
    tokens, _ = backbone.patch_embed(images)
    tokens = torch.cat((backbone.cls_token.expand(2, -1, -1), tokens), dim=1)
    tokens = first(tokens, positions)
    normed = second.norm1(tokens)
    q, k = (
        (normed @ weight.T + bias).unflatten(2, (2, 16)).transpose(1, 2)
        for weight, bias in zip(second.attn.qkv.weight.chunk(3)[:2], (second.attn.q_bias, 0.0), strict=True)
    )
    bias = second.attn.position_bias(positions)
    expected = (q @ k.transpose(-2, -1) / 4 + bias).softmax(dim=-1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match='layer 2 does not exist: the backbone has 2 blocks'):
        attention_of_layer(backbone, images, layer=2)


def test_a_subclass_is_looked_into_and_what_cannot_be_is_said() -> None:
    class OwnViT(BEiTv2ViT):
        pass

    own = OwnViT(**{key: value for key, value in tiny_vit().items() if key != 'type'}).eval()
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(attention_of_layer(own, images).sum(dim=-1), torch.ones(1, 2, 17))
    foreign = timm.create_model('vit_tiny_patch16_224', img_size=32, num_classes=0).eval()
    assert attention_of_layer(foreign, images).shape == (1, 3, 5, 5)
    for block in foreign.blocks:
        block.attn.fused_attn = False  # written out
    with pytest.raises(InputError, match='cannot be drawn'):
        attention_of_layer(foreign, images)
