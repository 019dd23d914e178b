from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmbeitv2_tools.launch import build_runner, load_config
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmbeitv2.backbones import BEiTv2ViT
from tests.conftest import tiny_vit, write_config

MEAN = 120.0


@MODELS.register_module()
class SubclassedViT(BEiTv2ViT):
    """A backbone of another project."""


def segmentor(tmp_path: Path, backbone_type: str) -> EncoderDecoder:
    """A segmentor that takes images whole, as the tools build it."""
    preprocessor = dict(type='SegDataPreProcessor', mean=[MEAN] * 3, std=[60.0] * 3, size=(32, 32))
    backbone = tiny_vit(type=backbone_type, out_type='featmap', final_norm='none', rel_pos_bias='per_layer')
    head = dict(type='FCNHead', in_channels=32, in_index=0, channels=8, num_convs=1, num_classes=5)
    model = dict(type='EncoderDecoder', data_preprocessor=preprocessor, backbone=backbone, decode_head=head)
    model |= dict(test_cfg=dict(mode='whole'))
    config = write_config(tmp_path, f"default_scope = 'mmseg'\nmodel = {model!r}\n")
    cfg = load_config(Namespace(config=config, cfg_options=None, launcher='none', work_dir=str(tmp_path / 'work')))
    return build_runner(cfg).model.eval()


@torch.no_grad()
def logits(model: EncoderDecoder, image: Tensor) -> Tensor:
    shape = tuple(image.shape[1:])
    sample = SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape))
    return model.test_step({'inputs': [image], 'data_samples': [sample]})[0].seg_logits.data


@pytest.mark.parametrize(
    ('backbone_type', 'size'), [('mmbeitv2.BEiTv2ViT', (40, 48)), ('mmseg.SubclassedViT', (45, 59))]
)
def test_a_whole_image_of_any_size_is_segmented_as_one_that_was_padded_to_whole_patches(
    tmp_path: Path, backbone_type: str, size: tuple[int, int]
) -> None:
    model = segmentor(tmp_path, backbone_type)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    image = torch.randint(0, 256, (3, *size)).float()
    padded = F.pad(image, (0, -size[1] % 8, 0, -size[0] % 8), value=MEAN)
    torch.testing.assert_close(logits(model, image), logits(model, padded)[:, : size[0], : size[1]], rtol=0, atol=0)
