"""Images of any shape in whole mode: mmseg's segmentor on our backbone, and on its own with the same weights."""

from __future__ import annotations

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmseg.structures import SegDataSample
from torch import nn

from mmbeitv2.inference.loading import pad_whole_images
from tests.conftest import tiny_vit


def segmentor(backbone: dict, head: str = 'mmbeitv2.EfficientUPerHead') -> nn.Module:
    """UperNet of small width, with weights of its own from seed 0."""
    init_default_scope('mmseg')
    norm = dict(type='BN')
    torch.manual_seed(0)
    neck = dict(type='Feature2Pyramid', embed_dim=32, rescales=[4, 2, 1, 0.5], norm_cfg=norm)
    decode_head = dict(
        type=head, in_channels=[32] * 4, in_index=[0, 1, 2, 3], pool_scales=(1, 2), channels=16, num_classes=5,
        norm_cfg=norm, align_corners=False, loss_decode=dict(type='CrossEntropyLoss'),
    )  # fmt: skip
    settings = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.0] * 3, std=[60.0] * 3),
        backbone=backbone,
        neck=neck,
        decode_head=decode_head,
        test_cfg=dict(mode='whole'),
    )
    return MODELS.build(ConfigDict(settings)).eval()


def ours(img_size: int | tuple[int, int] = 32) -> nn.Module:
    arch = dict(embed_dims=32, depth=4, num_heads=2)
    settings = dict(out_indices=(0, 1, 2, 3), out_type='featmap', final_norm='none', rel_pos_bias='per_layer')
    model = segmentor(tiny_vit(arch=arch, img_size=img_size, **settings))
    torch.manual_seed(0)
    for parameter in model.backbone.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


@torch.no_grad()
def logits(model: nn.Module, image: torch.Tensor) -> torch.Tensor:
    shape = tuple(image.shape[1:])
    sample = SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape))
    (result,) = model.test_step({'inputs': [image], 'data_samples': [sample]})
    assert result.pred_sem_seg.shape == shape
    return result.seg_logits.data


def test_a_rectangular_image_gives_what_mmsegs_beit_gives() -> None:
    model = ours(img_size=(48, 64))
    peer = segmentor(
        dict(
            type='BEiT', img_size=(48, 64), patch_size=8, embed_dims=32, num_layers=4, num_heads=2, mlp_ratio=4,
            out_indices=(0, 1, 2, 3), init_values=0.1, norm_cfg=dict(type='LN', eps=1e-6),
        ),
        head='UPerHead',
    )  # fmt: skip
    names = {'patch_embed.proj': 'patch_embed.projection', 'blocks.': 'layers.', 'gamma_': 'gamma_', 'norm1.': 'ln1.',
             'norm2.': 'ln2.', 'mlp.fc1': 'ffn.layers.0.0', 'mlp.fc2': 'ffn.layers.1'}  # fmt: skip
    state = {}
    for key, value in model.backbone.state_dict().items():
        for old, new in names.items():
            key = key.replace(old, new)
        state[key] = value
    missing, unexpected = peer.backbone.load_state_dict(state, strict=False)
    assert not unexpected
    assert all('relative_position_index' in key for key in missing)
    image = torch.randint(0, 256, (3, 48, 64), dtype=torch.uint8)
    torch.testing.assert_close(logits(model, image), logits(peer, image), rtol=1e-4, atol=1e-4)


def test_sides_that_are_no_multiples_of_the_patch_are_padded_with_the_mean_color() -> None:
    model = ours()
    pad_whole_images(model)
    image = torch.randint(0, 256, (3, 43, 61)).float()
    padded = nn.functional.pad(image, (0, 3, 0, 5), value=127.0)
    torch.testing.assert_close(logits(model, image), logits(model, padded)[:, :43, :61], rtol=0, atol=0)
