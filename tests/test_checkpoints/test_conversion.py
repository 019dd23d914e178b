"""Converted files give the same numbers in the library that they are for, and come back whole."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import transformers
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from mmpretrain.models.selfsup.beit import VQKD as PeerVQKD
from mmpretrain.models.selfsup.beit import BEiTPretrainViT
from mmseg.models.backbones import BEiT
from mmseg.models.necks.featurepyramid import Feature2Pyramid
from torch import Tensor, nn

from mmbeitv2.checkpoints import convert_checkpoint, read_checkpoint
from mmbeitv2.errors import InputError
from tests.conftest import (
    classification_config,
    randomize,
    run_tool,
    tiny_pretraining,
    tiny_tokenizer,
    tiny_vit,
)

READS = pytest.mark.parametrize('reads', ['avg_featmap', 'cls_token'])
PEER_ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=128)


def classifier(reads: str = 'avg_featmap', **changes: object) -> nn.Module:
    init_default_scope('mmpretrain')
    final_norm = 'fc_norm' if reads == 'avg_featmap' else 'norm'
    backbone = tiny_vit(rel_pos_bias='per_layer', final_norm=final_norm, out_type=reads, **changes)
    head = dict(type='LinearClsHead', num_classes=5, in_channels=32)
    return randomize(MODELS.build(dict(type='ImageClassifier', backbone=backbone, head=head))).eval()


def pretraining() -> nn.Module:
    return randomize(MODELS.build(tiny_pretraining())).eval()


def save(model: nn.Module, tmp_path: Path) -> str:
    path = str(tmp_path / 'ours.pth')
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images)


@READS
def test_a_classifier_is_the_same_in_timm(tmp_path: Path, reads: str) -> None:
    ours, images = classifier(reads), torch.randn(2, 3, 32, 32)
    state, left_out = convert_checkpoint(save(ours, tmp_path), str(tmp_path / 'timm.safetensors'), 'timm')
    assert not left_out
    theirs = timm.models.beit.Beit(
        img_size=32, patch_size=8, num_classes=5, embed_dim=32, depth=2, num_heads=2, use_abs_pos_emb=False,
        use_rel_pos_bias=True, init_values=0.1, global_pool='avg' if reads == 'avg_featmap' else 'token',
    )  # fmt: skip
    theirs.load_state_dict(state, strict=True)
    torch.testing.assert_close(logits(theirs.eval(), images), logits(ours, images))


@READS
def test_a_classifier_is_the_same_in_mmpretrain(tmp_path: Path, reads: str) -> None:
    ours, images = classifier(reads), torch.randn(2, 3, 32, 32)
    path = str(tmp_path / 'mmpretrain.pth')
    convert_checkpoint(save(ours, tmp_path), path, 'mmpretrain')
    backbone = dict(
        type='BEiTViT', arch=PEER_ARCH, img_size=32, patch_size=8, out_type=reads, use_abs_pos_emb=False,
        use_rel_pos_bias=True, use_shared_rel_pos_bias=False, final_norm=reads == 'cls_token',
    )  # fmt: skip
    head = dict(type='LinearClsHead', num_classes=5, in_channels=32)
    theirs = MODELS.build(dict(type='ImageClassifier', backbone=backbone, head=head)).eval()
    load_checkpoint(theirs, path)
    torch.testing.assert_close(logits(theirs, images), logits(ours, images))


def test_an_encoder_gives_the_same_features_in_mmseg(tmp_path: Path) -> None:
    """So mmseg's BEiT, against which segmentation is timed, is the same network."""
    settings = dict(img_size=(32, 48), out_indices=(0, 1))
    config = tiny_vit(rel_pos_bias='per_layer', final_norm='none', out_type='featmap', **settings)
    ours, images = randomize(MODELS.build(config)).eval(), torch.randn(2, 3, 32, 48)
    torch.save({f'backbone.{key}': value for key, value in ours.state_dict().items()}, tmp_path / 'ours.pth')
    state, _ = convert_checkpoint(str(tmp_path / 'ours.pth'), str(tmp_path / 'there.pth'), 'mmpretrain')
    theirs = BEiT(**settings, patch_size=8, embed_dims=32, num_layers=2, num_heads=2, init_values=0.1)
    own = {key.removeprefix('backbone.'): value for key, value in state.items()}
    missing, unexpected = theirs.load_state_dict(own, strict=False)
    assert all(key.endswith('relative_position_index') for key in missing)
    assert not unexpected
    theirs.eval()
    with torch.no_grad():
        for one, other in zip(theirs(images), ours(images), strict=True):
            torch.testing.assert_close(one, other)


@READS
@pytest.mark.parametrize('layer_scale', [0.1, 0.0])
def test_a_classifier_is_the_same_in_transformers(tmp_path: Path, reads: str, layer_scale: float) -> None:
    ours, images = classifier(reads, layer_scale_init_value=layer_scale), torch.randn(2, 3, 32, 32)
    convert_checkpoint(save(ours, tmp_path), str(tmp_path / 'hf'), 'hf')
    theirs, info = transformers.BeitForImageClassification.from_pretrained(tmp_path / 'hf', output_loading_info=True)
    assert not any(info.values())
    torch.testing.assert_close(logits(theirs.eval(), images).logits, logits(ours, images))


@pytest.mark.parametrize(
    'resize',
    [
        dict(type='mmbeitv2.FitImage', scale=60),
        dict(type='mmbeitv2.FitImage', scale=60, fit='stretch'),
        dict(type='ResizeEdge', scale=60, backend='pillow'),
        dict(type='Resize', scale=(52, 60), backend='pillow'),
    ],
)
def test_a_pipeline_of_transformers_gives_our_scores_under_our_names(
    tmp_path: Path, image_folder: Path, resize: dict
) -> None:
    config = classification_config(tmp_path, image_folder)
    # Images become 72x60, 60x60 or 52x60, with even margins: odd ones are rounded differently.
    with Path(config).open('a') as stream:
        stream.write(
            f"test_pipeline = [dict(type='mmbeitv2.LoadImage'), {resize!r}, dict(type='CenterCrop', crop_size=32)]\n"
            "test_pipeline.append(dict(type='mmpretrain.PackInputs'))\n"
            "test_dataloader['dataset'] = dict(train_dataloader['dataset'], pipeline=test_pipeline)\n"
            'data_preprocessor.update(mean=[100, 120, 140], to_rgb=True)\n'
        )
    run_tool('train', config, '--work-dir', str(tmp_path / 'work'), '--cfg-options', 'train_cfg.max_epochs=1')
    checkpoint, out = str(tmp_path / 'work/epoch_1.pth'), tmp_path / 'scores.pkl'
    run_tool('test', config, checkpoint, '--work-dir', str(tmp_path / 'test'), '--out', str(out))
    run_tool('convert_checkpoint', checkpoint, str(tmp_path / 'hf'), '--to', 'hf')
    classify = transformers.pipeline('image-classification', model=str(tmp_path / 'hf'))
    samples = pickle.loads(out.read_bytes())
    assert len(samples) == 16
    for sample in samples:
        found = {each['label']: each['score'] for each in classify(sample['img_path'])}
        expected = dict(zip(('cat', 'dog'), sample['pred_score'].tolist(), strict=True))
        assert found == pytest.approx(expected, abs=5e-5)


def test_a_rectangular_model_has_no_place_in_transformers_and_keeps_its_grid_elsewhere(tmp_path: Path) -> None:
    """5x13 patches, whose table is as long as that of 8x8."""
    path = save(classifier(img_size=(40, 104)), tmp_path)
    with pytest.raises(InputError, match='the model has 5x13 patches, but the hf format needs a square one'):
        convert_checkpoint(path, str(tmp_path / 'hf'), 'hf')
    assert not (tmp_path / 'hf').exists()
    for to in ('mmbeitv2', 'official'):
        convert_checkpoint(path, str(tmp_path / f'{to}.pth'), to)
        assert read_checkpoint(str(tmp_path / f'{to}.pth')).grid_of('') == (5, 13)


def test_a_pretrained_model_predicts_the_same_codes_in_transformers(tmp_path: Path) -> None:
    ours, images = pretraining(), torch.randn(2, 3, 32, 32)
    mask = torch.rand(2, 16) < 0.4
    _, left_out = convert_checkpoint(save(ours, tmp_path), str(tmp_path / 'hf'), 'hf')
    assert left_out
    assert all(key.startswith('neck.blocks.') for key in left_out)
    theirs, info = transformers.BeitForMaskedImageModeling.from_pretrained(tmp_path / 'hf', output_loading_info=True)
    assert not any(info.values())
    with torch.no_grad():
        features = ours.backbone(images, mask)[-1][:, 1:]
        (expected,) = ours.head(features)
        found = theirs.eval()(images, bool_masked_pos=mask).logits
    torch.testing.assert_close(found, expected)


def test_a_pretrained_model_gives_timm_a_bias_in_each_layer(tmp_path: Path) -> None:
    ours = pretraining()
    state, left_out = convert_checkpoint(save(ours, tmp_path), str(tmp_path / 'timm.pth'), 'timm')
    table = ours.backbone.rel_pos_bias.relative_position_bias_table
    for i in range(2):
        assert torch.equal(state[f'blocks.{i}.attn.relative_position_bias_table'], table)
    assert {'backbone.mask_token', 'head.lm_head.weight'} < set(left_out)
    assert torch.load(tmp_path / 'timm.pth').keys() == state.keys()


def test_a_pretrained_model_aggregates_the_same_in_mmpretrain(tmp_path: Path) -> None:
    ours, images = pretraining(), torch.randn(2, 3, 32, 32)
    state, left_out = convert_checkpoint(save(ours, tmp_path), str(tmp_path / 'mmpretrain.pth'), 'mmpretrain')
    assert not left_out
    init_default_scope('mmpretrain')
    backbone = BEiTPretrainViT(
        arch=PEER_ARCH, img_size=32, patch_size=8, out_indices=[0, 1], drop_path_rate=0, final_norm=False,
        layer_scale_init_value=0.1,
    )  # fmt: skip
    backbone.eval()
    own = {key.removeprefix('backbone.'): value for key, value in state.items() if key.startswith('backbone.')}
    missing, unexpected = backbone.load_state_dict(own, strict=False)
    assert (missing, unexpected) == (['rel_pos_bias.relative_position_index'], [])
    neck = MODELS.build(
        dict(type='BEiTV2Neck', num_layers=2, early_layers=1, backbone_arch=PEER_ARCH | dict(depth=2), drop_path_rate=0,
             layer_scale_init_value=0.1)
    ).eval()  # fmt: skip
    own = {key.removeprefix('neck.'): value for key, value in state.items() if key.startswith('neck.')}
    neck.load_state_dict(own, strict=True)
    with torch.no_grad():
        found = neck(backbone(images, torch.zeros(2, 16)), backbone.rel_pos_bias())
        nothing, everything = torch.zeros(2, 16, dtype=torch.bool), torch.arange(16).expand(2, -1)
        features = ours.backbone.forward_masked(images, nothing, everything)
        aggregated = ours.backbone.norm(ours.neck(features, everything))
        for one, other in zip(found, (features.masked, aggregated), strict=True):
            torch.testing.assert_close(one, other)


def test_a_tokenizer_gives_the_same_codes_in_mmpretrain(tmp_path: Path) -> None:
    ours, images = randomize(MODELS.build(tiny_tokenizer())).eval(), torch.rand(2, 3, 32, 32) * 2 - 1
    ours.quantize.embedding.initted.fill_(1)
    state, _ = convert_checkpoint(save(ours, tmp_path), str(tmp_path / 'tok.pth'), 'mmpretrain')
    vit = dict(
        arch=PEER_ARCH, img_size=32, patch_size=8, out_indices=-1, out_type='featmap', with_cls_token=True,
        use_abs_pos_emb=True, use_rel_pos_bias=False, use_shared_rel_pos_bias=False, drop_path_rate=0.0,
        layer_scale_init_value=0.0, final_norm=True,
    )  # fmt: skip
    theirs = PeerVQKD(encoder_config=vit, num_embed=16, embed_dims=8).eval()
    missing, _ = theirs.load_state_dict(state, strict=False)
    assert not missing
    with torch.no_grad():
        assert torch.equal(theirs.get_tokens(images)['token'], ours.tokenize(images))


@pytest.mark.parametrize('make', [classifier, pretraining])
@pytest.mark.parametrize('to', ['official', 'timm', 'mmpretrain', 'hf'])
def test_what_was_written_comes_back(tmp_path: Path, make: Callable[[], nn.Module], to: str) -> None:
    path = save(make(), tmp_path)
    there = str(tmp_path / 'there')
    _, left_out = convert_checkpoint(path, there, to)
    convert_checkpoint(there, str(tmp_path / 'back.pth'), 'mmbeitv2')
    original, back = read_checkpoint(path).ours, read_checkpoint(str(tmp_path / 'back.pth')).ours
    tables = 'relative_position_bias_table'
    for key in original.keys() - left_out:
        if not (to == 'timm' and tables in key):
            assert torch.equal(back[key], original[key]), key
    assert {key for key in back.keys() - original.keys() if tables not in key} == set()


def test_a_segmentation_model_has_its_pyramid_in_the_release_s_backbone(tmp_path: Path) -> None:
    state = {f'backbone.{key}': value for key, value in MODELS.build(tiny_vit()).state_dict().items()}
    pyramid = Feature2Pyramid(32, rescales=[4, 2, 1, 0.5], norm_cfg=dict(type='BN'))
    state |= {f'neck.{key}': value for key, value in pyramid.state_dict().items()}
    state |= {'decode_head.conv_seg.weight': torch.zeros(3, 4, 1, 1)}
    torch.save(dict(state_dict=state), tmp_path / 'ours.pth')
    written, left_out = convert_checkpoint(str(tmp_path / 'ours.pth'), str(tmp_path / 'official.pth'), 'official')
    assert not left_out
    assert {'backbone.fpn1.0.weight', 'backbone.fpn1.1.running_mean', 'backbone.fpn2.0.bias'} < written.keys()
    back = read_checkpoint(str(tmp_path / 'official.pth'))
    assert back.source == 'a segmentation model of the BEiT v2 release or timm'
    assert back.ours.keys() == state.keys()


def test_a_tokenizer_goes_to_the_release_and_nowhere_else(tmp_path: Path) -> None:
    path = save(MODELS.build(tiny_tokenizer()), tmp_path)
    state, _ = convert_checkpoint(path, str(tmp_path / 'official.pth'), 'official')
    assert state['quantize.embedding.embed_avg'].shape == (16, 8)
    with pytest.raises(ValueError, match='hf cannot hold a VQ-KD tokenizer. Choose official'):
        convert_checkpoint(path, str(tmp_path / 'hf'), 'hf')


def test_a_source_is_never_its_own_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(save(pretraining(), tmp_path))
    content = path.read_bytes()
    (tmp_path / 'symlink.pth').symlink_to(path)
    os.link(path, tmp_path / 'hardlink.pth')
    monkeypatch.chdir(tmp_path)
    convert_checkpoint(str(path), 'hf', 'hf')
    for source, target, to in (
        (str(path), path.name, 'timm'),
        ('symlink.pth', str(path), 'timm'),
        (str(path), 'hardlink.pth', 'timm'),
        ('hf/model.safetensors', 'hf/', 'hf'),
        ('hf', 'hf/model.safetensors', 'mmbeitv2'),
    ):
        with pytest.raises(InputError, match='is the checkpoint to convert, and would be overwritten'):
            convert_checkpoint(source, target, to)
    assert path.read_bytes() == content


def test_what_cannot_be_converted_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    path = save(pretraining(), tmp_path)
    torch.save({'weight': torch.zeros(2)}, tmp_path / 'other.pth')
    torch.save({'a': 1}, tmp_path / 'none.pth')
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'notes.txt').touch()
    before = sorted(tmp_path.rglob('*'))
    for source, target, to, message in (
        (path, tmp_path / 'mine', 'hf', r"mine' holds other files \(notes.txt\). Choose a new folder"),
        (tmp_path / 'other.pth', tmp_path / 'x', 'timm', "does not hold a BEiT encoder .its first key is 'weight'"),
        (tmp_path / 'none.pth', tmp_path / 'x', 'timm', "none.pth' holds no weights"),
    ):
        with pytest.raises(InputError, match=message):
            convert_checkpoint(str(source), str(target), to)
    assert sorted(tmp_path.rglob('*')) == before
