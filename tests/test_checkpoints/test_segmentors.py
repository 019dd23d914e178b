"""UperNet segmentors in transformers: ours and mmseg's, by logits and by the pipeline."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmseg.apis import MMSegInferencer
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn

from mmbeitv2.checkpoints import PretrainedBEiTv2, convert_checkpoint, read_checkpoint
from mmbeitv2.errors import InputError
from tests.conftest import randomize, tiny_vit

CLASSES = ('sky', 'wall', 'roof')
BN = dict(type='BN')


def segmentor(depth: int = 4, **changes: object) -> dict:
    vit = tiny_vit(
        arch=dict(embed_dims=32, depth=depth, num_heads=2), img_size=64, out_type='featmap', final_norm='none',
        rel_pos_bias='per_layer', out_indices=(0, 1, 2, 3),
    )  # fmt: skip
    head = dict(in_channels=[32] * 4, in_index=[0, 1, 2, 3], channels=32, num_classes=3, norm_cfg=BN)
    auxiliary = dict(in_channels=32, in_index=2, channels=16, num_convs=1, concat_input=False, num_classes=3)
    parts = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[120.0, 110, 100], std=[60.0, 50, 40], bgr_to_rgb=True),
        backbone=vit,
        neck=dict(type='Feature2Pyramid', embed_dim=32, rescales=[4, 2, 1, 0.5], norm_cfg=BN),
        decode_head=dict(type='mmbeitv2.EfficientUPerHead', pool_scales=(1, 2, 3), align_corners=False) | head,
        auxiliary_head=dict(type='FCNHead', align_corners=False, norm_cfg=BN) | auxiliary,
        test_cfg=dict(mode='whole'),
    )
    return parts | changes


def mmsegs() -> dict:
    """The same with mmseg's own backbone and head."""
    ours = segmentor()
    backbone = dict(
        type='BEiT', img_size=(64, 64), patch_size=8, embed_dims=32, num_layers=4, num_heads=2, init_values=0.1,
        out_indices=(0, 1, 2, 3),
    )  # fmt: skip
    return ours | dict(backbone=backbone, decode_head=ours['decode_head'] | dict(type='UPerHead'))


def trained(config: dict) -> nn.Module:
    """A segmentor after some steps towards the brightness of the pixels, so that its maps are not of one class."""
    init_default_scope('mmseg')
    model = randomize(MODELS.build(config)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    images = torch.from_numpy(np.stack(photographs())).permute(0, 3, 1, 2).float()
    brightness = images.mean(dim=1)
    labels = torch.bucketize(brightness, brightness.quantile(torch.tensor([1 / 3, 2 / 3])))
    inputs = model.data_preprocessor(dict(inputs=list(images.flip(1))))['inputs']  # BGR, as mmseg loads them
    for _ in range(40):
        logits = nn.functional.interpolate(model.decode_head(model.extract_feat(inputs)), (64, 64))
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
    return model.eval()


def photographs() -> list[np.ndarray]:
    """Eight pieces (64, 64, 3) of scikit-learn's photographs, RGB uint8."""
    pieces = [
        image[y : y + 128 : 2, x : x + 128 : 2]
        for image in load_sample_images().images
        for y in (0, 240)
        for x in (80, 380)
    ]
    return [np.ascontiguousarray(piece) for piece in pieces]


def save(model: nn.Module, config: dict, folder: Path) -> str:
    dataset = dict(type='ADE20KDataset')  # counts from 1 by default
    text = f'default_scope = "mmseg"\nmodel = {config!r}\ntest_dataloader = dict(dataset={dataset!r})\n'
    meta = dict(cfg=text, dataset_meta=dict(classes=CLASSES, palette=[[0, 0, 0], [255, 0, 0], [0, 255, 0]]))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'model.pth')
    return str(folder / 'model.pth')


@pytest.mark.parametrize('depth', [4, 5], ids=['reads its last block', 'does not read its last block'])
def test_a_segmentor_has_the_same_logits_in_transformers_and_comes_back(tmp_path: Path, depth: int) -> None:
    config = segmentor(depth)
    init_default_scope('mmseg')
    model, images = randomize(MODELS.build(config)).eval(), torch.randn(2, 3, 64, 64)
    _, left_out = convert_checkpoint(save(model, config, tmp_path), str(tmp_path / 'hf'), 'hf')
    assert not left_out
    theirs, info = transformers.BeitForSemanticSegmentation.from_pretrained(tmp_path / 'hf', output_loading_info=True)
    assert not any(info.values())
    with torch.no_grad():
        maps = model.extract_feat(images)
        torch.testing.assert_close(theirs.eval()(images).logits, model.decode_head(maps), atol=1e-4, rtol=1e-4)
        fpn = theirs.beit(images, output_hidden_states=True).hidden_states
        auxiliary = theirs.auxiliary_head([None, None, fpn[3][:, 1:].transpose(1, 2).unflatten(2, (8, 8))])
        torch.testing.assert_close(auxiliary, model.auxiliary_head(maps))
    convert_checkpoint(str(tmp_path / 'hf'), str(tmp_path / 'back.pth'), 'mmbeitv2')
    back = read_checkpoint(str(tmp_path / 'back.pth')).state
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize('config', [segmentor(), mmsegs()], ids=['ours', 'mmseg'])
def test_the_pipeline_of_transformers_draws_the_maps_of_mmsegs_inferencer(tmp_path: Path, config: dict) -> None:
    path = save(trained(config), config, tmp_path)
    convert_checkpoint(path, str(tmp_path / 'hf'), 'hf')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    loader = dict(dataset=dict(pipeline=pipeline))
    visualizer = dict(type='SegLocalVisualizer', vis_backends=[], name='visualizer')
    parts = dict(
        default_scope='mmseg', model=config, test_dataloader=loader, test_pipeline=pipeline, visualizer=visualizer
    )
    Config(parts).dump(tmp_path / 'config.py')
    inferencer = MMSegInferencer(str(tmp_path / 'config.py'), path, device='cpu')
    segment = transformers.pipeline('image-segmentation', model=str(tmp_path / 'hf'))
    equal, seen = [], set()
    for i, piece in enumerate(photographs()):
        Image.fromarray(piece).save(tmp_path / f'{i}.png')
        expected = inferencer(str(tmp_path / f'{i}.png'))['predictions']
        found = np.full((64, 64), -1)
        for each in segment(str(tmp_path / f'{i}.png')):
            found[np.asarray(each['mask']) > 0] = CLASSES.index(each['label'])
        equal.append(found == expected)
        seen |= set(np.unique(expected))
    assert seen == {0, 1, 2}
    assert np.mean(equal) >= 0.999
    assert json.loads((tmp_path / 'hf/preprocessor_config.json').read_text())['do_reduce_labels']


def test_mmsegs_own_segmentor_becomes_ours_and_again_mmsegs(tmp_path: Path) -> None:
    init_default_scope('mmseg')
    theirs, images = randomize(MODELS.build(mmsegs())).eval(), torch.randn(2, 3, 64, 64)
    path = save(theirs, mmsegs(), tmp_path)
    convert_checkpoint(path, str(tmp_path / 'ours.pth'), 'mmbeitv2')
    assert torch.load(tmp_path / 'ours.pth')['meta']['dataset_meta']['classes'] == CLASSES
    ours = MODELS.build(segmentor()).eval()
    ours.load_state_dict(read_checkpoint(str(tmp_path / 'ours.pth')).state)
    with torch.no_grad():
        found, expected = (model.decode_head(model.extract_feat(images)) for model in (ours, theirs))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    state, left_out = convert_checkpoint(str(tmp_path / 'ours.pth'), str(tmp_path / 'again.pth'), 'mmpretrain')
    assert not left_out
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.endswith('relative_position_index') for key in missing)


def test_what_transformers_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    config = segmentor()
    config['decode_head']['channels'] = 8
    obstacle = '8 channels in the decode head, instead of the 32 of the backbone'
    init_default_scope('mmseg')
    path = save(MODELS.build(config), config, tmp_path)
    with pytest.raises(InputError, match=f'the hf format cannot hold a segmentor with {obstacle}. Choose mmbeitv2'):
        convert_checkpoint(path, str(tmp_path / 'hf'), 'hf')
    assert not (tmp_path / 'hf').exists()


def test_data2vec_vision_is_read(tmp_path: Path) -> None:
    settings = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128, image_size=32,
                    patch_size=8, num_labels=5, use_relative_position_bias=True, layer_norm_eps=1e-6)  # fmt: skip
    theirs = randomize(transformers.Data2VecVisionForImageClassification(transformers.Data2VecVisionConfig(**settings)))
    theirs.eval().save_pretrained(tmp_path / 'data2vec')
    init_default_scope('mmpretrain')
    ours = MODELS.build(tiny_vit(rel_pos_bias='per_layer', final_norm='fc_norm')).eval()
    state = PretrainedBEiTv2(str(tmp_path / 'data2vec')).state_for(ours)
    ours.load_state_dict(state, strict=True)
    head = read_checkpoint(str(tmp_path / 'data2vec')).ours
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        logits = nn.functional.linear(ours(images)[0], head['head.fc.weight'], head['head.fc.bias'])
        torch.testing.assert_close(logits, theirs(images).logits)


@pytest.mark.parametrize('use_ema', [False, True])
def test_the_averaged_weights_of_mmengine_are_its_state_dict(tmp_path: Path, use_ema: bool) -> None:
    averaged = OrderedDict(MODELS.build(tiny_vit()).state_dict())
    last = {f'module.{key}': value + 1 for key, value in averaged.items()}
    torch.save(dict(state_dict=averaged, ema_state_dict=last), tmp_path / 'both.pth')
    file = read_checkpoint(str(tmp_path / 'both.pth'), use_ema)
    assert torch.equal(file.state['cls_token'], averaged['cls_token'])
