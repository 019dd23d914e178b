"""TimmViT, with timm's own forward as the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from mmengine.registry import MODELS
from timm.models import save_for_hf
from torch import Tensor, nn

from mmbeitv2.backbones import TimmViT
from mmbeitv2.errors import InputError
from mmbeitv2.teachers import TimmTeacher
from tests.conftest import randomize, tiny_pretraining, tiny_tokenizer
from tests.test_engine.test_layer_decay import groups_by_name

TINY = dict(embed_dim=32, depth=3, num_heads=2, patch_size=8)
# One model of each family, with the settings that pretraining needs beside those of all.
FAMILIES = {
    'vit_small_patch14_dinov2': {},
    'vit_small_patch14_reg4_dinov2': {},
    'vit_small_patch16_dinov3': {},
    'vit_base_patch16_siglip_224': dict(use_cls_token=True),
    'eva02_tiny_patch14_224': {},
    'vit_base_patch16_224.mae': {},
    'deit3_small_patch16_224': {},
    'vit_tiny_patch16_224': {},
    'vit_small_patch16_rope_mixed_224': {},
}
DINOV3 = 'vit_small_patch16_dinov3'
SIGLIP = 'vit_base_patch16_siglip_224'
PRETRAINING = dict(out_indices=(1, 2), out_type='raw', use_mask_token=True)


def settings(model: str = DINOV3, **changes: object) -> dict:
    return dict(type='mmbeitv2.TimmViT', model=model, img_size=32, **TINY) | changes


def build(model: str = DINOV3, **changes: object) -> TimmViT:
    return randomize(MODELS.build(settings(model, **changes))).eval()


def timm_model(ours: TimmViT, model: str, **options: object) -> Any:
    """Timm's own model with the weights of ours."""
    theirs = timm.create_model(model, num_classes=0, img_size=32, **TINY, **options).eval()
    theirs.load_state_dict(ours.vit.state_dict())
    return theirs


@pytest.mark.parametrize('model', FAMILIES)
@pytest.mark.parametrize('size', [(32, 32), (48, 24)])
@torch.no_grad()
def test_equals_timm_without_and_with_resizing(model: str, size: tuple[int, int]) -> None:
    ours, images = build(model, out_type='pooled', final_norm='fc_norm'), torch.randn(2, 3, *size)
    theirs = timm_model(ours, model)
    theirs.set_input_size(size)
    torch.testing.assert_close(ours(images)[0], theirs(images))
    tokens = theirs.forward_features(images)
    patches = tokens[:, theirs.num_prefix_tokens :]
    has_cls = theirs.cls_token is not None
    expected = dict(
        raw=torch.cat((tokens[:, :1], patches), dim=1) if has_cls else patches,
        featmap=patches.transpose(1, 2).unflatten(2, (size[0] // 8, size[1] // 8)),
        avg_featmap=patches.mean(dim=1),
        cls_token=tokens[:, 0],
    )
    for out_type in expected if has_cls else list(expected)[:-1]:
        ours.out_type, ours.final_norm = out_type, 'fc_norm'
        output, wanted = ours(images)[0], expected[out_type]
        normed = (
            theirs.fc_norm(wanted.movedim(1, -1)).movedim(-1, 1) if out_type == 'featmap' else theirs.fc_norm(wanted)
        )
        torch.testing.assert_close(output, normed)
        ours.final_norm = 'norm'  # every token is normalized before the mean
        if out_type in ('raw', 'cls_token'):
            torch.testing.assert_close(ours(images)[0], normed)
    dynamic = ours(images)[0]
    ours.resize_positions((size[0] // 8, size[1] // 8))
    torch.testing.assert_close(ours(images)[0], dynamic)


@pytest.mark.parametrize('model', FAMILIES)
def test_masked_features_are_those_of_all_tokens_and_everything_learns(model: str) -> None:
    vit = build(model, **PRETRAINING, **FAMILIES[model])
    images, index = torch.randn(2, 3, 32, 32), torch.tensor([[2, 3, 15], [0, 1, 4]])
    mask = torch.zeros(2, 16, dtype=torch.bool).scatter(1, index, True)
    features, (layer_l, last) = vit.forward_masked(images, mask, index), vit(images, mask)
    assert last.shape == (2, 17, 32)  # without registers
    expected = torch.stack([image[1:][row] for image, row in zip(last, index, strict=True)])
    torch.testing.assert_close(features.masked, expected)
    torch.testing.assert_close(features.layer_l_patches, layer_l[:, 1:])
    torch.testing.assert_close(vit.final_norm_of(features.cls_token), last[:, :1])
    hidden = images.unflatten(2, (4, 8)).unflatten(4, (4, 8)).clone()  # (B, 3, 4, 8, 4, 8)
    hidden[mask.view(2, 1, 4, 1, 4, 1).expand_as(hidden)] = 7.0
    torch.testing.assert_close(vit.forward_masked(hidden.flatten(4).flatten(2, 3), mask, index).masked, features.masked)
    pretraining = MODELS.build(
        tiny_pretraining(backbone=settings(model, **PRETRAINING, **FAMILIES[model]), tokenizer=tiny_tokenizer())
    )
    pretraining.init_weights()
    batch = pretraining.data_preprocessor(dict(inputs=(images * 50 + 100).byte(), mask=mask))['inputs']
    sum(value for key, value in pretraining.loss(batch).items() if 'loss' in key).backward()
    assert [name for name, p in pretraining.named_parameters() if p.requires_grad and p.grad is None] == []


def rotary(block: nn.Module, x: Tensor, theirs: Any) -> Tensor:
    block.attn.num_prefix_tokens = 1
    return block(x, rope=theirs.rope.get_embed(shape=(4, 4)))


@torch.no_grad()
def test_the_aggregation_has_the_backbones_blocks_and_angles_on_cls_and_patches() -> None:
    vit = build(**PRETRAINING)
    theirs = timm_model(vit, DINOV3)
    tokens, index = torch.randn(2, 17, 32), torch.tensor([[0, 3], [5, 16]])
    context = vit.forward_masked(torch.randn(2, 3, 32, 32), torch.zeros(2, 16) > 0, index - index).context
    first, second = vit.aggregation_blocks(2)
    expected = rotary(theirs.blocks[2], tokens, theirs)
    torch.testing.assert_close(first(tokens, context, None), expected)
    expected = rotary(theirs.blocks[2], expected, theirs)  # no other follows layer l
    picked = torch.stack([image[row] for image, row in zip(expected, index, strict=True)])
    torch.testing.assert_close(second(first(tokens, context), context, index), picked)
    assert vit.blocks[2].attn.num_prefix_tokens == 5


@pytest.mark.parametrize('model', [DINOV3, SIGLIP])
@torch.no_grad()
def test_an_added_cls_token_has_no_position_and_patches_keep_theirs(model: str) -> None:
    no_cls = dict(class_token=False, num_reg_tokens=0, global_pool='avg') if model == DINOV3 else {}
    plain, added = build(model, **no_cls), build(model, use_cls_token=True, **no_cls)
    added.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(1, 3, 32, 32)
    tokens = added._embed(images, None)[0]
    torch.testing.assert_close(tokens[:, 1:], plain._embed(images, None)[0])
    torch.testing.assert_close(tokens[:, :1], added.vit.cls_token)
    for module in (plain, added):
        for block in module.blocks:
            nn.init.zeros_(block.attn.proj.weight)  # no token sees another
    torch.testing.assert_close(added(images), plain(images))


def test_checkpointing_gives_the_same_gradients_and_frozen_parts_get_none() -> None:
    images, grads = torch.randn(2, 3, 32, 32), []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = build(with_cp=with_cp, out_type='cls_token').train()
        model(images)[0].square().sum().backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, checkpointed)
    partly = build('vit_small_patch14_reg4_dinov2', frozen_stages=2, drop_path_rate=0.5, use_mask_token=True).train()
    trained = {name.split('.')[1] + name.split('.')[2] for name, p in partly.named_parameters() if p.requires_grad}
    assert trained == {'blocks2', 'normweight', 'normbias'}
    assert not partly.blocks[1].training
    assert partly.blocks[2].training
    assert not any(p.requires_grad for p in build(SIGLIP, frozen_stages=3, out_type='pooled').parameters())


def test_learning_rates_fall_by_the_depth_and_tokens_have_no_weight_decay() -> None:
    model = MODELS.build(tiny_pretraining(backbone=settings('vit_small_patch14_reg4_dinov2', **PRETRAINING)))
    groups = groups_by_name(model, 1.0, 0.05, layer_decay_rate=0.5)
    expected = {
        'vit.patch_embed.proj.weight': 4,
        'mask_token': 4,
        'vit.blocks.0.attn.qkv.weight': 3,
        'vit.norm.bias': 0,
    }
    expected |= {f'vit.{name}': 4 for name in ('cls_token', 'reg_token', 'pos_embed')}
    for name, height in expected.items():
        assert groups[f'backbone.{name}'][0] == 0.5**height, name
    assert groups['neck.blocks.0.block.attn.qkv.weight'] == (1.0, 0.05)
    assert {groups[f'backbone.vit.{name}'][1] for name in ('cls_token', 'reg_token', 'pos_embed')} == {0}


def test_weights_are_loaded_by_timms_names_from_files_and_folders_at_any_size_and_patch(tmp_path: Path) -> None:
    theirs = timm.create_model('vit_tiny_patch16_224', img_size=64, num_classes=5, depth=2)
    torch.save(theirs.state_dict(), tmp_path / 'timm.pth')
    save_for_hf(theirs, str(tmp_path / 'hub'), model_args=dict(depth=2, img_size=64))
    for source in (
        dict(model='vit_tiny_patch16_224', depth=2, pretrained=str(tmp_path / 'timm.pth')),
        dict(model=f'local-dir:{tmp_path / "hub"}', pretrained=True),
    ):
        vit = MODELS.build(dict(type='mmbeitv2.TimmViT', img_size=64, **source))
        vit.init_weights()  # which must not call timm's
        for name, value in vit.vit.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name])
        other = MODELS.build(dict(type='mmbeitv2.TimmViT', img_size=48, patch_size=8, in_channels=1, **source))
        theirs_resized = timm.create_model('vit_tiny_patch16_224', img_size=64, num_classes=5, depth=2)
        theirs_resized.load_state_dict(theirs.state_dict())
        theirs_resized.set_input_size(img_size=(48, 48), patch_size=(8, 8))
        torch.testing.assert_close(other.vit.pos_embed, theirs_resized.pos_embed)
        gray = theirs_resized.patch_embed.proj.weight.sum(dim=1, keepdim=True)
        torch.testing.assert_close(other.vit.patch_embed.proj.weight, gray)
    torch.save({f'other.{name}': value + 1 for name, value in theirs.state_dict().items()}, tmp_path / 'other.pth')
    for kind in (TimmViT, TimmTeacher):
        with pytest.raises(InputError, match="other.pth' are not of model='vit_tiny_patch16_224': only 0 of"):
            kind('vit_tiny_patch16_224', str(tmp_path / 'other.pth'), 64)


def test_fine_tuning_starts_from_a_pretraining_of_its_own_at_another_size(tmp_path: Path) -> None:
    pretrained = randomize(MODELS.build(tiny_pretraining(backbone=settings(SIGLIP, use_cls_token=True, **PRETRAINING))))
    torch.save(pretrained.backbone.state_dict(), tmp_path / 'backbone.pth')
    torch.save(dict(state_dict=pretrained.state_dict()), tmp_path / 'pretrained.pth')
    pretrained.backbone.vit.set_input_size((48, 24))
    init_cfg = dict(type='mmbeitv2.PretrainedBEiTv2')
    for name in ('backbone', 'pretrained'):
        init_cfg['checkpoint'] = str(tmp_path / f'{name}.pth')
        vit = MODELS.build(
            settings(SIGLIP, img_size=(48, 24), use_cls_token=True, init_cfg=init_cfg, final_norm='none')
        )
        vit.init_weights()
        for key, value in vit.state_dict().items():
            torch.testing.assert_close(value, pretrained.backbone.state_dict()[key])
    with pytest.raises(InputError, match=r'vit.cls_token is only in the file'):
        MODELS.build(settings(SIGLIP, init_cfg=init_cfg)).init_weights()
    with pytest.raises(InputError, match='blocks.0.attn.qkv.bias is only in the file'):
        MODELS.build(settings(init_cfg=init_cfg)).init_weights()


def test_a_pretraining_continues_with_all_weights_of_an_earlier_one(tmp_path: Path) -> None:
    config = tiny_pretraining(backbone=settings('vit_small_patch14_reg4_dinov2', **PRETRAINING))
    earlier = randomize(MODELS.build(config))
    torch.save(dict(state_dict=earlier.state_dict()), tmp_path / 'pretrained.pth')
    init_cfg = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=str(tmp_path / 'pretrained.pth'))
    for reinit_head in (False, True):
        model = MODELS.build({**config, 'init_cfg': dict(**init_cfg, reinit_head=reinit_head)})
        model.init_weights()
        same = {key: torch.equal(value, earlier.state_dict()[key]) for key, value in model.state_dict().items()}
        assert all(is_same for key, is_same in same.items() if key.startswith(('backbone.', 'neck.')))
        assert same['head.lm_head.weight'] is not reinit_head
    own_neck = {key.replace('neck.blocks.', 'neck.layers.'): value for key, value in earlier.state_dict().items()}
    torch.save(dict(state_dict=own_neck), tmp_path / 'pretrained.pth')
    with pytest.raises(InputError, match=r'neck.blocks.0.block.attn.* is only in the model'):
        MODELS.build({**config, 'init_cfg': init_cfg}).init_weights()


def test_a_tokenizer_has_it_as_its_encoder() -> None:
    encoder = settings(out_type='featmap', final_norm='fc_norm')
    tokenizer = MODELS.build(tiny_tokenizer(encoder=encoder))
    assert tokenizer.tokenize(torch.rand(2, 3, 32, 32)).shape == (2, 16)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(model='swin_tiny_patch4_window7_224'),
            'a plain ViT .*unexpected keyword',
        ),
        (dict(model='convnext_tiny', embed_dim=None), "model='convnext_tiny' as a plain ViT"),
        (dict(model='beit_base_patch16_224'), 'a plain ViT.*for a BEiT, use BEiTv2ViT'),
        (dict(model='vit_nonsense'), "timm cannot build model='vit_nonsense' .*Unknown model"),
        (dict(img_size=30), 'img_size=30 is not a multiple of patch_size=8'),
        (dict(img_size=4), 'img_size=4 is not a multiple of patch_size=8'),
        (dict(out_type='map'), "out_type='map' is unknown"),
        (dict(out_type='pooled', out_indices=0), "out_type='pooled' needs out_indices=-1"),
        (dict(out_indices=3), 'must name blocks in increasing order; the backbone has 3'),
        (dict(model=SIGLIP, out_type='cls_token'), "has no CLS token, which out_type='cls_token' needs"),
        (dict(pretrained='none.pth'), "weights 'none.pth' do not exist"),
        (dict(model='hf-hub:timm/vit_small_patch16_dinov3.lvd1689m', pretrained=True), 'where there is a network'),
        (dict(pretrained=__file__), "test_timm_vit.py' cannot be read .*Set pretrained to a file of weights"),
    ],
)
def test_what_is_no_plain_vit_and_wrong_settings_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MODELS.build(settings(**changes))


def test_what_the_forward_and_the_pretraining_cannot_take_is_refused() -> None:
    vit = build()
    with pytest.raises(InputError, match='an image of 4x32 pixels is smaller than one patch of 8x8'):
        vit(torch.randn(1, 3, 4, 32))
    assert vit(torch.randn(1, 3, 30, 41))[0].shape == (1, 32)  # padded to whole patches
    with pytest.raises(InputError, match='use_mask_token=True'):
        vit(torch.randn(1, 3, 32, 32), torch.zeros(1, 16) > 0)
    with pytest.raises(InputError, match='pretraining needs a CLS token.*Set use_cls_token=True'):
        build(SIGLIP, **PRETRAINING).aggregation_blocks(2)
    with pytest.raises(InputError, match=r'out_indices=\(2,\) of the backbone must be two blocks'):
        build(**PRETRAINING | dict(out_indices=-1)).aggregation_blocks(2)
