from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from tests.conftest import ROOT, tiny_pretraining, tiny_vit

OURS = 'mmbeitv2.LayerDecayOptimWrapperConstructor'


def groups_by_name(
    model: nn.Module, lr: float, decay: float, constructor: str = OURS, **paramwise: object
) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of every parameter."""
    optim = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=lr, weight_decay=decay),
            constructor=constructor,
            paramwise_cfg=paramwise,
        ),
    )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(p)]: (group['lr'], group['weight_decay'])
        for group in optim.optimizer.param_groups
        for p in group['params']
    }


def test_pretraining_decays_all_but_vectors_cls_token_and_pos_embed() -> None:
    model = MODELS.build(tiny_pretraining(backbone=tiny_pretraining()['backbone'] | dict(use_abs_pos_emb=True)))
    groups = groups_by_name(model, 1.5e-3, 0.05)
    assert set(groups) == {name for name, _ in model.named_parameters()}
    assert {lr for lr, _ in groups.values()} == {1.5e-3}
    free = {name for name, (_, decay) in groups.items() if decay == 0}
    assert free == {
        name
        for name, p in model.named_parameters()
        if p.ndim == 1 or name in ('backbone.cls_token', 'backbone.pos_embed')
    }
    assert groups['backbone.mask_token'][1] == 0.05
    assert groups['backbone.rel_pos_bias.relative_position_bias_table'][1] == 0.05


def test_full_size_rates_fall_by_the_decay_per_block() -> None:
    cfg = Config.fromfile(str(ROOT / 'configs/segmentation/beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py'))
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    rate, lr = cfg.optim_wrapper.paramwise_cfg.layer_decay_rate, cfg.optim_wrapper.optimizer.lr
    groups = groups_by_name(model, lr, 0.05, layer_decay_rate=rate)
    expected = {'backbone.patch_embed.proj.weight': 13, 'backbone.cls_token': 13}
    expected |= {f'backbone.blocks.{i}.attn.qkv.weight': 12 - i for i in range(12)}
    expected |= {f'backbone.blocks.{i}.attn.relative_position_bias_table': 12 - i for i in range(12)}
    heads = [name for name, _ in model.named_parameters() if not name.startswith('backbone.')]
    expected |= dict.fromkeys(heads, 0)
    for name, height in expected.items():
        assert groups[name][0] == pytest.approx(lr * rate**height), name
    assert groups['backbone.blocks.0.gamma_1'][1] == 0
    assert groups['backbone.blocks.0.attn.qkv.weight'][1] == 0.05


@pytest.mark.parametrize(
    'paramwise',
    [
        dict(norm_decay_mult=0.5, bias_decay_mult=2.0, bias_lr_mult=3.0, dwconv_decay_mult=0.25, flat_decay_mult=0.1),
        dict(
            custom_keys={
                'backbone': dict(lr_mult=0.1, decay_mult=0.9),
                'backbone.blocks.1': dict(lr_mult=0.2, decay_mult=0.0),
                'norm1': dict(decay_mult=3.0),
                'head.weight': dict(lr_mult=10, decay_mult=1),
            },
            norm_decay_mult=0.3,
        ),
    ],
)
def test_the_keys_of_mmengine_do_what_they_do_there(paramwise: dict) -> None:
    model = nn.Module()
    model.backbone, model.head = MODELS.build(tiny_vit()), nn.Linear(4, 4)
    model.neck = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
    del model.backbone.cls_token  # the one parameter here that mmengine has no rule for
    ours = groups_by_name(model, 1e-3, 0.05, layer_decay_rate=1.0, **paramwise)
    # Our rule without keys: no decay on vectors.
    theirs = groups_by_name(
        model, 1e-3, 0.05, 'DefaultOptimWrapperConstructor', **(dict(flat_decay_mult=0) | paramwise)
    )
    assert set(ours) == set(theirs) == {name for name, _ in model.named_parameters()}
    for name, expected in theirs.items():
        assert ours[name] == pytest.approx(expected), name


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Module()
    model.backbone = MODELS.build(tiny_vit(frozen_stages=2))
    model.head = nn.Linear(2, 2)
    assert set(groups_by_name(model, 1.0, 0.1, layer_decay_rate=0.5)) == {'head.weight', 'head.bias'}


@pytest.mark.parametrize('part', ['', 'backbone'])
def test_a_compiled_model_has_the_rates_of_its_layers(part: str) -> None:
    model = nn.Module()
    model.backbone = MODELS.build(tiny_vit())
    expected = groups_by_name(model, 1.0, 0.1, layer_decay_rate=0.5)
    model.backbone = torch.compile(model.backbone) if part else model.backbone
    found = groups_by_name(model if part else torch.compile(model), 1.0, 0.1, layer_decay_rate=0.5)
    assert {name.replace('_orig_mod.', ''): rates for name, rates in found.items()} == expected
    assert len(set(expected.values())) > 3


def test_the_constructor_of_mmpretrain_gives_the_same_rates() -> None:
    init_default_scope('mmpretrain')
    head = dict(type='LinearClsHead', num_classes=2, in_channels=32)
    model = MODELS.build(dict(type='ImageClassifier', backbone=tiny_vit(rel_pos_bias='per_layer'), head=head))
    theirs = 'mmpretrain.LearningRateDecayOptimWrapperConstructor'
    ours, others = (groups_by_name(model, 1.0, 0.05, name, layer_decay_rate=0.5) for name in (OURS, theirs))
    assert {name: lr for name, (lr, _) in ours.items()} == {name: lr for name, (lr, _) in others.items()}
    assert ours['backbone.blocks.0.mlp.fc1.weight'][0] == 0.25


def test_layers_of_lora_have_the_rate_of_their_block() -> None:
    module = tiny_vit(arch=dict(embed_dims=32, depth=3, num_heads=2))
    lora = dict(type='mmpretrain.LoRAModel', module=module, rank=2, targets=[dict(type='fc1')])
    head = dict(type='LinearClsHead', num_classes=2, in_channels=32)
    init_default_scope('mmpretrain')
    groups = groups_by_name(
        MODELS.build(dict(type='ImageClassifier', backbone=lora, head=head)), 1.0, 0.0, layer_decay_rate=0.5
    )
    rates = {name: groups[f'backbone.module.blocks.{name}.mlp.fc1.lora_up.weight'][0] for name in range(3)}
    assert rates == {0: 0.125, 1: 0.25, 2: 0.5}
    assert groups['head.fc.weight'][0] == 1
