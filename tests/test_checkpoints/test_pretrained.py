from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmbeitv2.apis import load_model
from mmbeitv2.checkpoints import convert_checkpoint
from mmbeitv2.layers.frozen import fingerprint
from mmbeitv2.layers.positions import relative_position_index
from tests.conftest import tiny_pretraining, tiny_tokenizer, tiny_vit
from tests.test_inference.foreign import sign_tokenizer, with_weights

TABLE = 'attn.relative_position_bias_table'


def released_pretrained(**changes: Tensor | None) -> dict[str, Tensor]:
    """The keys of beitv2_base_patch16_224_pt1k at a small size, written out."""
    state = {'cls_token': (1, 1, 32), 'mask_token': (1, 1, 32), 'patch_embed.proj.weight': (32, 3, 8, 8)}
    state |= {'patch_embed.proj.bias': (32,), 'norm.weight': (32,), 'norm.bias': (32,)}
    state |= {'rel_pos_bias.relative_position_bias_table': (52, 2), 'lm_head.weight': (16, 32), 'lm_head.bias': (16,)}
    for block in ('blocks.0', 'blocks.1', 'cls_pt_layers.0', 'cls_pt_layers.1'):
        for name in ('norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias', 'gamma_1', 'gamma_2'):
            state[f'{block}.{name}'] = (32,)
        state |= {f'{block}.attn.q_bias': (32,), f'{block}.attn.v_bias': (32,), f'{block}.attn.qkv.weight': (96, 32)}
        state |= {f'{block}.attn.proj.weight': (32, 32), f'{block}.attn.proj.bias': (32,)}
        state |= {f'{block}.mlp.fc1.weight': (128, 32), f'{block}.mlp.fc1.bias': (128,)}
        state |= {f'{block}.mlp.fc2.weight': (32, 128), f'{block}.mlp.fc2.bias': (32,)}
    weights = {key: torch.randn(shape) for key, shape in state.items()}
    weights['rel_pos_bias.relative_position_index'] = relative_position_index((4, 4))
    weights |= {key: value for key, value in changes.items() if value is not None}
    return {key: value for key, value in weights.items() if changes.get(key, value) is not None}


def save(tmp_path: Path, state: dict, wrapper: str | None = 'model') -> str:
    path = str(tmp_path / 'weights.pth')
    torch.save(state if wrapper is None else {wrapper: state}, path)
    return path


def load(path: str, **changes: object) -> nn.Module:
    model = MODELS.build(tiny_vit(**changes, init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=path)))
    model.init_weights()
    return model


@pytest.mark.parametrize('wrapper', ['model', 'module', 'state_dict', None])
@pytest.mark.parametrize(
    'prefix', ['', 'module.', 'module._orig_mod.', '_orig_mod.module.']
)  # of DDP and torch.compile
def test_a_released_file_loads_whatever_wraps_it(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    state = released_pretrained()
    model = load(save(tmp_path, {prefix + key: value for key, value in state.items()}, wrapper))
    loaded = model.state_dict()
    others = ('lm_head', 'cls_pt_layers', 'mask_token', 'rel_pos_bias.relative_position_index')
    assert set(loaded) == {key for key in state if not key.startswith(others)}
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_finetuning_gets_a_copy_of_the_shared_bias_in_every_layer_and_a_new_norm(tmp_path: Path) -> None:
    state = released_pretrained()
    model = load(save(tmp_path, state), rel_pos_bias='per_layer', final_norm='fc_norm')
    shared = state['rel_pos_bias.relative_position_bias_table']
    for block in model.blocks:
        assert torch.equal(block.attn.relative_position_bias_table, shared)
    assert torch.equal(model.blocks[1].attn.qkv.weight, state['blocks.1.attn.qkv.weight'])
    assert (model.fc_norm.weight == 1).all()
    tables = {block.attn.relative_position_bias_table.data_ptr() for block in model.blocks}
    assert len(tables) == 2  # copies, which part ways in training


@pytest.mark.parametrize('channels', [1, 2, 6, 8])
def test_rgb_filters_start_a_patch_embedding_of_other_channels(tmp_path: Path, channels: int) -> None:
    state = released_pretrained()
    model = load(save(tmp_path, state), in_channels=channels)
    filters = state['patch_embed.proj.weight']
    for channel in range(channels):
        expected = filters.sum(1) if channels == 1 else filters[:, channel % 3] * 3 / channels
        torch.testing.assert_close(model.patch_embed.proj.weight[:, channel], expected)
    if channels in (1, 6):  # a gray image gives the patches that it gave as RGB
        gray = torch.randn(1, 1, 32, 32)
        patches = torch.nn.functional.conv2d(gray.expand(-1, 3, -1, -1), filters, state['patch_embed.proj.bias'], 8)
        found = model.patch_embed(gray.expand(-1, channels, -1, -1))[0]
        torch.testing.assert_close(found, patches.flatten(2).transpose(1, 2), atol=1e-4, rtol=1e-4)


def test_a_released_tokenizer_loads_without_its_teacher_and_unused_statistics(tmp_path: Path) -> None:
    source = MODELS.build(tiny_tokenizer())
    source.init_weights()
    state = dict(source.state_dict())
    state |= {'quantize.embedding.cluster_size': torch.zeros(16), 'quantize.embedding.embed_avg': torch.zeros(16, 8)}
    state |= {'teacher_model.visual.proj': torch.zeros(3), 'scaling_layer.shift': torch.zeros(1, 3, 1, 1)}
    path = save(tmp_path, state)
    model = MODELS.build(tiny_tokenizer(init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=path)))
    model.init_weights()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(model.eval().tokenize(images), source.eval().tokenize(images))


@pytest.mark.parametrize(
    ('state', 'model', 'message'),
    [
        ({}, dict(arch=dict(embed_dims=32, depth=3, num_heads=2)), 'lacks blocks.2.attn.proj.bias'),
        ({}, dict(arch=dict(embed_dims=64, depth=2, num_heads=2)), r'token has shape \(1, 1, 32\) in .* \(1, 1, 64\)'),
        ({}, dict(layer_scale_init_value=0.0), 'has blocks.0.gamma_1, which the model does not have. Set arch, layer_'),
        ({}, dict(use_abs_pos_emb=True), 'lacks pos_embed, which the model has. .*use_abs_pos_emb'),
        ({'patch_embed.proj.weight': torch.zeros(32, 4, 8, 8)}, dict(in_channels=6), r'shape \(32, 4, 8, 8\) in'),
        ({'rel_pos_bias.relative_position_bias_table': torch.zeros(51, 2)}, {}, 'the 48 positions of'),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, state: dict, model: dict, message: str) -> None:
    path = save(tmp_path, released_pretrained(**state))
    with pytest.raises(ValueError, match=message):
        load(path, **model)


def whole(path: str, reinit_head: bool = False, **changes: object) -> nn.Module:
    """A pretraining model that starts from a file."""
    init_cfg = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=path, reinit_head=reinit_head)
    model = MODELS.build(tiny_pretraining(init_cfg=init_cfg, **changes))
    model.init_weights()
    return model


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged on loading."""
    lines: list[str] = []
    for module in ('pretrained', 'reading'):
        monkeypatch.setattr(f'mmbeitv2.checkpoints.{module}.print_log', lambda line, **_: lines.append(line))
    return lines


@pytest.fixture
def pretrained(tmp_path: Path) -> nn.Module:
    """A whole pretraining model with random weights, in ``ours.pth``"""
    model = MODELS.build(tiny_pretraining())
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'ours.pth')
    return model


@pytest.mark.parametrize('layout', ['mmbeitv2', 'official', 'mmpretrain'])
def test_a_whole_pretraining_model_goes_on_from_a_file_of_each_layout(
    tmp_path: Path, said: list[str], pretrained: nn.Module, layout: str
) -> None:
    path = str(tmp_path / 'file.pth')
    convert_checkpoint(str(tmp_path / 'ours.pth'), path, layout)
    loaded = whole(path).state_dict()
    for key, value in pretrained.state_dict().items():
        assert torch.equal(loaded[key], value), key
    assert 'initial weights' not in said[0]


def test_what_a_file_lacks_starts_afresh_and_the_log_says_so(
    tmp_path: Path, said: list[str], pretrained: nn.Module
) -> None:
    path = str(tmp_path / 'timm.pth')
    _, left_out = convert_checkpoint(str(tmp_path / 'ours.pth'), path, 'timm')
    assert 'head.lm_head.weight' in left_out
    backbone = tiny_vit(
        out_indices=(0, 1), out_type='raw', final_norm='norm', use_mask_token=True, rel_pos_bias='per_layer'
    )
    loaded = whole(path, backbone=backbone).state_dict()
    (line,) = said
    assert 'kept the initial values of mask_token, which the file lacks' in line
    assert (
        'the patch aggregation starts from its initial weights, because the file has none; the head starts from '
        'its initial weights, because the file has none'
    ) in line
    for key in ('backbone.blocks.1.mlp.fc1.weight', 'backbone.norm.weight'):
        assert torch.equal(loaded[key], pretrained.state_dict()[key])
    assert loaded['head.lm_head.weight'].std() < 0.1  # as initialized; those of the file have a deviation of 1
    assert loaded['head.lm_head.bias'].eq(0).all()
    assert (loaded['neck.blocks.0.gamma_1'] == 0.1).all()
    assert loaded['backbone.mask_token'].std() < 0.1


def test_the_head_of_another_tokenizer_is_refused_or_starts_afresh(
    tmp_path: Path, said: list[str], pretrained: nn.Module
) -> None:
    path = str(tmp_path / 'ours.pth')
    tokenizer = tiny_tokenizer(quantizer=dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=9, code_dim=8))
    with pytest.raises(ValueError, match=r'predicts 16 codes, but the tokenizer has 9. .*reinit_head=True'):
        whole(path, tokenizer=tokenizer)
    loaded = whole(path, reinit_head=True, tokenizer=tokenizer).state_dict()
    assert 'the head starts from its initial weights, because reinit_head is set' in said[-1]
    assert loaded['head.lm_head.weight'].shape == (9, 32)
    assert torch.equal(loaded['neck.blocks.0.mlp.fc1.weight'], pretrained.state_dict()['neck.blocks.0.mlp.fc1.weight'])


def test_a_tokenizer_of_other_weights_than_the_former_run_had_is_told(
    tmp_path: Path, said: list[str], pretrained: nn.Module
) -> None:
    tokenizer = str(tmp_path / 'tokenizer.pth')
    torch.save(dict(state_dict=pretrained.tokenizer.module.state_dict()), tokenizer)
    record = dict(tokenizer=f'weights {fingerprint(pretrained.tokenizer.module)}')
    path = str(tmp_path / 'run.pth')
    torch.save(dict(state_dict=pretrained.state_dict(), meta=dict(run=record)), path)
    same = tiny_tokenizer(init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=tokenizer))
    whole(path, tokenizer=same)
    whole(path, reinit_head=True)
    assert not [line for line in said if 'other weights' in line]
    whole(path)  # with a random tokenizer
    assert 'run.pth was pretrained with a tokenizer that has other weights' in said[-2]


def test_another_patch_aggregation_than_the_file_has_is_refused(tmp_path: Path, pretrained: nn.Module) -> None:
    path = str(tmp_path / 'ours.pth')
    with pytest.raises(ValueError, match=r'neck.blocks.1.attn.proj.bias is only in the file. Set depth'):
        whole(path, neck=dict(type='mmbeitv2.CLSAggregationNeck', depth=1))


@pytest.mark.parametrize('key', ['model_ema', 'state_dict_ema'])
def test_averaged_weights_are_told_loaded_and_converted_when_asked_for(
    tmp_path: Path, key: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    last, averaged = released_pretrained(), released_pretrained()
    path = str(tmp_path / 'both.pth')
    torch.save({'model': last, key: averaged}, path)
    monkeypatch.setattr('mmbeitv2.checkpoints.reading.print_log', lambda line, **_: said.append(line))
    assert torch.equal(load(path).cls_token, last['cls_token'])
    assert f'{path} also has averaged weights, which are left out; use_ema=True' in said[0]
    model = MODELS.build(tiny_vit(init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=path, use_ema=True)))
    model.init_weights()
    assert torch.equal(model.cls_token, averaged['cls_token'])
    convert_checkpoint(path, str(tmp_path / 'ours.pth'), 'mmbeitv2', use_ema=True)
    assert torch.equal(load(str(tmp_path / 'ours.pth')).cls_token, averaged['cls_token'])
    with pytest.raises(ValueError, match='has no averaged weights'):
        convert_checkpoint(str(tmp_path / 'ours.pth'), path, 'timm', use_ema=True)


@pytest.fixture
def own_vit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subclasses of the backbone in another project, one with a layer and a mask of its own."""
    monkeypatch.setattr(MODELS, '_module_dict', dict(MODELS._module_dict))
    base: Any = MODELS.get('mmbeitv2.BEiTv2ViT')

    class ExtraViT(base):
        def __init__(self, **kwargs: object) -> None:
            super().__init__(**kwargs)
            self.extra = nn.Linear(self.embed_dims, 2)
            self.register_buffer('causal', torch.full((2, 2), float('-inf')).triu(1))

    MODELS.register_module(name='MyViT', module=type('MyViT', (base,), {}))
    MODELS.register_module(module=ExtraViT)


@pytest.mark.parametrize('loader', ['ExtraViT', 'mmbeitv2.BEiTv2ViT'])
@pytest.mark.parametrize('writer', ['ExtraViT', 'mmbeitv2.BEiTv2ViT'])
def test_what_a_subclass_adds_is_loaded_left_out_or_new(
    tmp_path: Path, said: list[str], own_vit: None, writer: str, loader: str
) -> None:
    source = MODELS.build(tiny_vit(type=writer, use_mask_token=True))
    for parameter in source.parameters():
        nn.init.normal_(parameter)
    state = {f'backbone.{key}': value for key, value in source.state_dict().items()}
    state['attn_mask'] = torch.full((4, 4), float('-inf'))  # of the project's own model
    vit = load(save(tmp_path, state), type=loader)
    for key, value in vit.named_parameters():
        if key in dict(source.named_parameters()):
            assert torch.equal(value, source.get_parameter(key)), key
    assert ('left out causal, extra.bias, extra.weight' in said[0]) == (writer == 'ExtraViT' != loader)
    assert ('kept the initial values of causal, extra, which' in said[0]) == (loader == 'ExtraViT' != writer)


def test_a_tokenizer_with_a_quantizer_and_an_encoder_of_another_project_loads(tmp_path: Path, own_vit: None) -> None:
    config = sign_tokenizer()
    config['encoder']['type'] = 'MyViT'
    source = with_weights(config)
    path = save(tmp_path, source.state_dict(), 'state_dict')
    init_cfg = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=path)
    by_init_cfg = MODELS.build(config | dict(init_cfg=init_cfg))
    by_init_cfg.init_weights()
    whole = tiny_pretraining(tokenizer=config | dict(teacher=dict(type='NotNeeded')))
    by_load_model = load_model(Config(dict(model=whole)), path, 'tokenizer')
    images = torch.rand(2, 3, 32, 32)
    codes = source.tokenize(images)
    assert codes.unique().numel() > 1
    for model in (by_init_cfg.eval(), by_load_model):
        assert torch.equal(model.tokenize(images), codes)
    with_table = dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=16, code_dim=4)
    with pytest.raises(ValueError, match=r'does not fit the VQKD: quantize.* is only in the model'):
        load_model(Config(dict(model=config | dict(quantizer=with_table))), path, 'tokenizer')


def test_the_only_child_of_a_tokenizer_loads_from_a_file_of_its_own(tmp_path: Path) -> None:
    config = dict(type='mmbeitv2.DALLETokenizer', img_size=16, encoder=dict(n_hid=8, n_blk_per_group=1))
    source = MODELS.build(config)
    path = save(tmp_path, source.encoder.state_dict(), None)
    model = load_model(Config(dict(model=config)), path, 'tokenizer')
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(model.tokenize(images), source.eval().tokenize(images))
