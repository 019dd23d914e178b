"""LoRA layers of mmpretrain and peft around the backbones: trained, merged, exported, converted."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmbeitv2.apis import load_model
from mmbeitv2.backbones import merge_lora
from mmbeitv2.checkpoints import read_checkpoint
from tests.conftest import classification_config, randomize, refused, run_tool, tiny_pretraining, tiny_vit
from tests.test_backbones.test_timm_vit import DINOV3, settings
from tests.test_tools.test_export import EOMT, UPERNET

TARGETS = [dict(type='qkv'), dict(type='proj'), dict(type='fc1'), dict(type='fc2')]
CLASSIFIER = dict(
    type='ImageClassifier',
    backbone=tiny_vit(rel_pos_bias='per_layer', final_norm='fc_norm'),
    head=dict(type='LinearClsHead', num_classes=5, in_channels=32),
)
DINO = CLASSIFIER | dict(backbone=settings(depth=2, model=DINOV3))


def with_lora(model: dict, **changes: object) -> dict:
    lora = dict(type='mmpretrain.LoRAModel', module=model['backbone'], alpha=4, rank=2, targets=TARGETS)
    return model | dict(backbone=lora | changes)


def build(model: dict) -> nn.Module:
    scope = 'mmseg' if model['type'] == 'EncoderDecoder' else 'mmpretrain'
    with DefaultScope.overwrite_default_scope(scope):
        return randomize(MODELS.build(model), std=0.2).eval()


def outputs(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return model(images, mode='tensor')


@pytest.mark.parametrize(
    ('plain', 'changes', 'layers'),
    [
        (CLASSIFIER, {}, 8),
        (UPERNET, {}, 16),
        (DINO, {}, 8),
        (EOMT, dict(type='mmbeitv2.LoRABackbone', trained=['mask_module.']), 8),
    ],
    ids=['classifier', 'UperNet', 'DINOv3', 'EoMT'],
)
@torch.no_grad()
def test_a_merged_model_is_plain_and_gives_the_same(plain: dict, changes: dict, layers: int) -> None:
    model = build(with_lora(plain, **changes))
    assert sum(name.endswith('lora_up') for name, _ in model.named_modules()) == layers
    images = torch.randn(2, 3, 32, 32)
    expected = outputs(model, images)
    merged = merge_lora(model)
    torch.testing.assert_close(outputs(merged, images), expected, rtol=1e-4, atol=1e-4)
    other = build(plain)
    other.load_state_dict(merged.state_dict())  # all names and shapes
    torch.testing.assert_close(outputs(other, images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('inside', [True, False])
@torch.no_grad()
def test_merged_weights_are_those_of_peft(inside: bool) -> None:
    ours, theirs = build(with_lora(CLASSIFIER)), build(CLASSIFIER)
    targets = ['qkv', 'attn.proj', 'fc1', 'fc2']  # peft would take the convolution patch_embed.proj as well
    config = peft.LoraConfig(target_modules=targets, r=2, lora_alpha=4)
    if inside:
        theirs.backbone = peft.get_peft_model(theirs.backbone, config)
    else:
        theirs = peft.get_peft_model(theirs, config)
    names = {'original_layer': 'base_layer', 'lora_down': 'lora_A.default', 'lora_up': 'lora_B.default'}
    wanted, state = theirs.state_dict(), {}
    for name, value in [*ours.named_parameters()]:
        for here, there in names.items():
            name = name.replace(here, there)
        name = name.replace('backbone.module.', 'backbone.base_model.model.' if inside else 'backbone.')
        state[name if inside else f'base_model.model.{name}'] = value
    theirs.load_state_dict(state)
    assert state.keys() == wanted.keys()
    ours, theirs = merge_lora(ours), merge_lora(theirs)
    assert 'backbone.blocks.1.mlp.fc2.weight' in ours.state_dict()
    torch.testing.assert_close(dict(theirs.state_dict()), dict(ours.state_dict()))


def test_an_adaptation_starts_from_the_whole_pretrained_model(tmp_path: Path) -> None:
    file, plain = str(tmp_path / 'pretrained.pth'), tiny_pretraining()
    pretrained = build(plain).state_dict()
    torch.save(dict(state_dict=pretrained), file)
    load = dict(init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=file))
    adapted = with_lora(plain | dict(backbone=plain['backbone'] | load), type='mmbeitv2.LoRABackbone') | load
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(adapted)
        model.init_weights()
    torch.testing.assert_close(dict(merge_lora(model).state_dict()), dict(pretrained))


def test_what_an_adaptation_trains_is_what_its_checkpoint_holds() -> None:
    plain = tiny_pretraining()
    model = build(with_lora(plain, type='mmbeitv2.LoRABackbone', trained=['mask_token'])).train()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == model.state_dict().keys()
    assert {'neck.blocks.0.attn.qkv.weight', 'head.lm_head.weight', 'backbone.module.mask_token'} < trained
    assert len([name for name in trained if name.startswith('backbone.')]) == 17
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[:, :4] = True
    gradients = []
    for with_cp in (False, True):
        model.backbone.module.with_cp = with_cp
        model.zero_grad()
        features = model.backbone.forward_masked(torch.ones(2, 3, 32, 32), mask, torch.arange(4).expand(2, -1))
        features.masked.square().sum().backward()
        gradients.append({name: p.grad for name, p in model.backbone.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == {name for name, p in model.backbone.named_parameters() if p.requires_grad}
    torch.testing.assert_close(gradients[1], gradients[0])


def test_a_trained_classifier_is_scored_exported_and_converted(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    base, work_dir = tmp_path / 'base.pth', tmp_path / 'work'
    torch.save(build(CLASSIFIER | dict(head=None)).state_dict(), base)
    vit = CLASSIFIER['backbone'] | dict(init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=str(base)))
    config = classification_config(tmp_path, image_folder, backbone=with_lora(dict(backbone=vit))['backbone'])
    run_tool('train', config, '--work-dir', str(work_dir), '--cfg-options', 'optim_wrapper.optimizer.lr=0.1')
    checkpoint = str(work_dir / 'epoch_2.pth')
    run_tool('test', config, checkpoint, '--work-dir', str(work_dir))
    run_tool('export_onnx', config, checkpoint, str(tmp_path / 'model.onnx'))  # which compares both
    arguments = ('convert_checkpoint', checkpoint, str(tmp_path / 'timm.pth'), '--to', 'timm')
    said = 'holds LoRA layers without the weights that they change. Merge both first: python tools/convert_checkpoint'
    assert said in refused(capsys, *arguments)
    run_tool(*arguments, '--config', config)
    # The layers put together by hand.
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(Config.fromfile(config).model).eval()
    state = torch.load(checkpoint, weights_only=False)['state_dict']
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    assert state['backbone.module.blocks.0.attn.qkv.lora_up.weight'].any()
    peer = timm.models.beit.Beit(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=2, use_rel_pos_bias=True,
        use_abs_pos_emb=False, init_values=0.1,
    ).eval()  # fmt: skip
    peer.load_state_dict(torch.load(tmp_path / 'timm.pth'))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = outputs(model, images)
        torch.testing.assert_close(peer(images), expected, rtol=1e-4, atol=1e-4)
        # What was merged also loads with the config of the training.
        run_tool('convert_checkpoint', checkpoint, str(tmp_path / 'plain.pth'), '--to', 'mmbeitv2', '--config', config)
        for file in (checkpoint, tmp_path / 'plain.pth'):
            torch.testing.assert_close(outputs(load_model(config, file), images), expected, rtol=1e-4, atol=1e-4)
        features = model.backbone(images)[0]
        torch.testing.assert_close(
            load_model(config, checkpoint, 'backbone')(images)[0], features, rtol=1e-4, atol=1e-4
        )
    assert read_checkpoint(str(tmp_path / 'plain.pth')).source == 'a classifier of this package'
    torch.save(randomize(build(CLASSIFIER | dict(head=None))).state_dict(), base)
    for tool in ('test', 'train'):
        options = ['--resume', checkpoint] if tool == 'train' else [checkpoint]
        said = refused(capsys, tool, config, *options, '--work-dir', str(work_dir))
        assert 'backbone' in said
        assert 'weights' in said
