"""Initial weights against the release's rules, by distribution, for every single parameter."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from scipy import stats
from torch import nn

from tests.conftest import ROOT, tiny_pretraining, tiny_tokenizer, tiny_vit

SMALL = dict(embed_dims=384, depth=12, num_heads=6)

# A rule gives the distribution, or the constant, of a parameter from its fan-in and the match of its name.
Rule = Callable[..., Any]


def normal(fan_in: int, name: re.Match, divisor: float = 1) -> stats.rv_frozen:
    return stats.norm(scale=0.02 / divisor)


def cut_normal(fan_in: int, name: re.Match, divisor: float = 1) -> stats.rv_frozen:
    return stats.truncnorm(-1, 1, scale=0.02 / divisor)  # its standard deviation is 0.0108


def uniform(fan_in: int, name: re.Match, divisor: float = 1) -> stats.rv_frozen:
    bound = 1 / math.sqrt(fan_in) / divisor  # torch's default
    return stats.uniform(-bound, 2 * bound)


def constant(value: float) -> Rule:
    return lambda fan_in, name: value


def rescaled(rule: Rule, layers_before: int = 0) -> Rule:
    """Divided by sqrt(2·i) in block i, counted from 1."""

    def find(fan_in: int, name: re.Match) -> stats.rv_frozen:
        return rule(fan_in, name, math.sqrt(2 * (layers_before + int(name['block']) + 1)))

    return find


def block_rules(weights: Rule, layers_before: int = 0, biases: Rule | None = None) -> dict[str, Rule]:
    return {
        r'blocks\.\d+\.(attn\.qkv|mlp\.fc1)\.weight': weights,
        r'blocks\.(?P<block>\d+)\.(attn\.proj|mlp\.fc2)\.weight': rescaled(weights, layers_before),
        r'blocks\.\d+\.(attn\.proj|mlp\.fc1|mlp\.fc2)\.bias': biases or constant(0),
        r'blocks\.\d+\.attn\.[qv]_bias': constant(0),
        r'blocks\.\d+\.norm[12]\.weight': constant(1),
        r'blocks\.\d+\.norm[12]\.bias': constant(0),
        r'blocks\.\d+\.gamma_[12]': constant(0.1),
    }


def vit_rules(weights: Rule, patch_embed: Rule, patch_embed_bias: Rule) -> dict[str, Rule]:
    return {
        'cls_token|mask_token|pos_embed': weights,
        r'patch_embed\.proj\.weight': patch_embed,
        r'patch_embed\.proj\.bias': patch_embed_bias,
        '(fc_)?norm.weight': constant(1),
        '(fc_)?norm.bias': constant(0),
        '.*relative_position_bias_table': constant(0),
    } | block_rules(weights)


PRETRAINING = vit_rules(cut_normal, patch_embed=cut_normal, patch_embed_bias=constant(0))
FINETUNING = vit_rules(normal, patch_embed=uniform, patch_embed_bias=uniform)


def check(model: nn.Module, rules: dict[str, dict[str, Rule]]) -> None:
    """Compares each parameter of a model with the rule of its name.

    Args:
        model: initialized.
        rules: by prefix of the name.
    """
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        prefix = max((prefix for prefix in rules if name.startswith(prefix)), key=len)
        found = [(rule, match) for pattern, rule in rules[prefix].items()
                 if (match := re.fullmatch(pattern, name[len(prefix):]))]  # fmt: skip
        assert len(found) == 1, name
        layer = modules[name.rpartition('.')[0]]
        fan_in = layer.weight[0].numel() if isinstance(layer, (nn.Linear, nn.Conv2d)) else 0
        rule, match = found[0]
        expected = rule(fan_in, match)
        if isinstance(expected, (int, float)):
            assert (parameter == expected).all(), name
            continue
        values = parameter.detach().flatten()
        values = values[torch.randperm(len(values))[:20000]].numpy()
        low, high = expected.support()
        assert low <= values.min() <= values.max() <= high, name
        # The distributions in question differ so much that p is 0 for a wrong one.
        assert stats.kstest(values, expected.cdf).pvalue > 1e-6, name


@pytest.mark.parametrize('shared_head', [True, False])
def test_pretraining(shared_head: bool) -> None:
    parts = tiny_pretraining()
    backbone = parts['backbone'] | dict(arch=SMALL, out_indices=(8, 11), init_rule='pretraining')
    neck, head = (parts[part] | dict(shared_head=shared_head) for part in ('neck', 'head'))
    tokenizer = tiny_tokenizer(quantizer=dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=512, code_dim=8))
    model = MODELS.build(tiny_pretraining(backbone=backbone, neck=neck, head=head, tokenizer=tokenizer))
    model.init_weights()
    # The neck's blocks are made after the release's pass of initialization, from layer 9 on.
    neck_rules = block_rules(uniform, layers_before=9, biases=uniform)
    neck_rules |= {r'norm\.weight': constant(1), r'norm\.bias': constant(0)}
    head_rules = {r'.*\.weight': cut_normal, r'.*\.bias': constant(0)}
    check(model, {'backbone.': PRETRAINING, 'neck.': neck_rules, 'head.': head_rules})
    assert len(dict(model.head.named_parameters())) == (2 if shared_head else 4)


def test_tokenizer() -> None:
    vit = dict(
        out_type='featmap', final_norm='fc_norm', use_abs_pos_emb=True, rel_pos_bias='none', layer_scale_init_value=0.0
    )
    model = MODELS.build(
        tiny_tokenizer(
            encoder=tiny_vit(**vit, arch=SMALL),
            decoder=tiny_vit(**vit, arch=SMALL | dict(depth=3), img_size=4, patch_size=1, in_channels=32),
            quantizer=dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=16, code_dim=32),
        )
    )
    model.init_weights()
    task = {r'.*\.weight': normal, r'.*\.bias': constant(0)}
    check(model, {'encoder.': FINETUNING, 'decoder.': FINETUNING, 'encode_task': task, 'decode_task': task})
    std = model.decoder.patch_embed.proj.weight.std().item()
    assert std == pytest.approx(1 / math.sqrt(3 * 32), rel=0.02)  # 0.102, against 0.02 of everything else


def test_finetuning() -> None:
    cfg = Config.fromfile(ROOT / 'configs/classification/beitv2-1600e_vit-b_ft-100e_in1k.py')
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.update(arch=SMALL, init_cfg=None)
    cfg.model.head.in_channels = 384
    cfg.model.data_preprocessor = dict(type='ClsDataPreprocessor', num_classes=1000)
    model = MODELS.build(cfg.model)
    model.init_weights()
    head = {r'fc\.weight': lambda fan_in, name: stats.norm(scale=0.02 * 0.001), r'fc\.bias': constant(0)}
    check(model, {'backbone.': FINETUNING, 'head.': head})
