from __future__ import annotations

import peft
import pytest
import torch
from mmengine.registry import MODELS
from timm.models.beit import Beit

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.errors import InputError
from tests.conftest import TINY_ARCH, randomize, tiny_vit


def build(**changes: object) -> BEiTv2ViT:
    return MODELS.build(tiny_vit(**changes))


@pytest.mark.parametrize('bias', ['shared', 'per_layer', 'none'])
@pytest.mark.parametrize('use_abs_pos_emb', [True, False])
def test_equals_timm(bias: str, use_abs_pos_emb: bool) -> None:
    timm_model = Beit(
        img_size=32, patch_size=8, num_classes=0, embed_dim=32, depth=2, num_heads=2, init_values=0.1,
        use_abs_pos_emb=use_abs_pos_emb, use_rel_pos_bias=bias == 'per_layer', use_shared_rel_pos_bias=bias == 'shared',
    ).eval()  # fmt: skip
    for parameter in timm_model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model = build(rel_pos_bias=bias, use_abs_pos_emb=use_abs_pos_emb, final_norm='fc_norm').eval()
    state = {key: value for key, value in timm_model.state_dict().items() if 'relative_position_index' not in key}
    assert not any(model.load_state_dict(state, strict=True))
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images)[0], timm_model(images), rtol=1e-4, atol=1e-5)


def test_output_forms_are_views_of_the_same_tokens() -> None:
    images = torch.randn(2, 3, 32, 32)
    model = build(out_type='raw', out_indices=(0, -1)).eval()
    model.init_weights()
    first, last = model(images)
    assert first.shape == last.shape == (2, 17, 32)
    forms = {}
    for form in ('featmap', 'cls_token', 'avg_featmap'):
        other = build(out_type=form).eval()
        other.load_state_dict(model.state_dict())
        (forms[form],) = other(images)
    torch.testing.assert_close(forms['featmap'], last[:, 1:].transpose(1, 2).reshape(2, 32, 4, 4))
    torch.testing.assert_close(forms['cls_token'], last[:, 0])
    torch.testing.assert_close(forms['avg_featmap'], last[:, 1:].mean(1))


@pytest.mark.parametrize('bias', ['shared', 'per_layer'])
def test_images_of_another_size_are_taken(bias: str) -> None:
    model = build(out_type='featmap', rel_pos_bias=bias, use_abs_pos_emb=True)
    model.init_weights()
    (features,) = model(torch.randn(1, 3, 48, 60))
    assert features.shape == (1, 32, 6, 8)  # 60 pixels are padded to 64
    features.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_checkpointing_gives_the_same_gradients() -> None:
    images = torch.randn(2, 3, 32, 32)
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = build(with_cp=with_cp)
        model.init_weights()
        model(images)[0].square().sum().backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_frozen_stages_get_no_gradient_and_stay_in_eval_mode() -> None:
    model = build(frozen_stages=2, drop_path_rate=0.5).train()
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.blocks[1].training
    partly = build(frozen_stages=1).train()
    assert not any(parameter.requires_grad for parameter in partly.blocks[0].parameters())
    # The shared bias, because the second block is trained with it.
    trained = {name.split('.')[0] for name, p in partly.named_parameters() if p.requires_grad}
    assert trained == {'blocks', 'norm', 'rel_pos_bias'}
    own = build(frozen_stages=1, rel_pos_bias='per_layer')
    assert [block.attn.relative_position_bias_table.requires_grad for block in own.blocks] == [False, True]


@pytest.mark.parametrize('bias', ['shared', 'per_layer'])
def test_resized_positions_give_the_features_of_images_of_that_size(bias: str) -> None:
    model = randomize(build(rel_pos_bias=bias, use_abs_pos_emb=True, out_type='raw'))
    images = torch.randn(2, 3, 48, 24)
    with torch.no_grad():
        expected = model(images)[0]
        model.resize_positions((6, 3))
        found = model(images)[0]
    assert model.pos_embed.shape == (1, 19, 32)
    assert {p.shape[0] for name, p in model.named_parameters() if 'bias_table' in name} == {11 * 5 + 3}
    torch.testing.assert_close(found, expected)


def test_lora_of_mmpretrain_and_peft_starts_as_the_model_and_learns() -> None:
    images = torch.randn(2, 3, 32, 32)
    lora = MODELS.build(
        dict(type='mmpretrain.LoRAModel', module=tiny_vit(), alpha=4, rank=2, targets=[dict(type='qkv')])
    )
    plain = randomize(build())
    adapted = peft.get_peft_model(randomize(build()), peft.LoraConfig(target_modules=['qkv', 'proj'], r=2))
    randomize(lora.module)
    with torch.no_grad():
        for block in lora.module.blocks:
            block.attn.qkv.lora_up.weight.zero_()
        state = {key.replace('.original_layer', ''): value for key, value in lora.module.state_dict().items()}
        plain.load_state_dict({key: value for key, value in state.items() if 'lora_' not in key})
        torch.testing.assert_close(lora(images), plain(images))
    for model in (lora, adapted):
        model(images)[0].square().sum().backward()
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert trained == {name for name, parameter in model.named_parameters() if parameter.grad is not None} != set()
        assert all('lora' in name for name in trained)


def test_settings_and_images_that_do_not_fit_are_refused() -> None:
    for changes, message in (
        (dict(arch='huge'), "arch='huge' is unknown"),
        (dict(arch=TINY_ARCH | dict(depth=0)), 'depth=0 must be at least 1 block'),
        (dict(img_size=30), 'img_size=30 is not a multiple of patch_size=8'),
        (dict(out_indices=(0, 2)), 'must name blocks in increasing order; the backbone has 2'),
    ):
        with pytest.raises(InputError, match=message):
            build(**changes)
    with pytest.raises(ValueError, match='use_mask_token=True'):
        build()(torch.randn(1, 3, 32, 32), torch.zeros(1, 16, dtype=torch.bool))
    with pytest.raises(ValueError, match='an image of 4x32 pixels is smaller than one patch of 8x8'):
        build()(torch.randn(1, 3, 4, 32))


@pytest.mark.gpu
def test_the_gpu_gives_what_the_cpu_gives() -> None:
    model = build(out_type='raw').eval()
    model.init_weights()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model.cuda()(images.cuda())[0].cpu(), model.cpu()(images)[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('rel_pos_bias', ['none', 'shared', 'per_layer'])
def test_masked_features_are_those_of_all_tokens_with_their_gradients(rel_pos_bias: str) -> None:
    settings = dict(out_indices=(0, 1), out_type='raw', use_mask_token=True, rel_pos_bias=rel_pos_bias)
    vit, plain = randomize(build(**settings)), build(**settings, final_norm='none')
    plain.load_state_dict({key: value for key, value in vit.state_dict().items() if not key.startswith('norm.')})
    images, index = torch.randn(2, 3, 32, 32), torch.tensor([[2, 3, 15], [0, 1, 4]])
    mask = torch.zeros(2, 16, dtype=torch.bool).scatter(1, index, True)
    layer_l, last = vit(images, mask)
    expected = [torch.stack([image[1:][row] for image, row in zip(last, index, strict=True)]), layer_l[:, 1:]]
    outputs, gradients = [expected], []
    features = vit.forward_masked(images, mask, index)
    outputs.append([features.masked, features.layer_l_patches])
    for parts in outputs:
        vit.zero_grad()
        sum(part.square().sum() for part in parts).backward()
        gradients.append({name: parameter.grad for name, parameter in vit.named_parameters()})
    torch.testing.assert_close(outputs[1], outputs[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-4, rtol=1e-4, msg=name)
    torch.testing.assert_close(features.cls_token, plain(images, mask)[1][:, :1])
