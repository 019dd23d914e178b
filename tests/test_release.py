"""Against the authors' own modules, where a clone of microsoft/unilm is at hand: BEIT2_SOURCE names its folder beit2.

No code of theirs is part of this package; without the variable these tests are skipped.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from mmbeitv2.checkpoints import convert_checkpoint
from mmbeitv2.datasets import BlockMaskGenerator
from tests.conftest import NUM_CODES, tiny_pretraining, tiny_tokenizer, tiny_vit

Import = Callable[[str], ModuleType]
SOURCE = os.environ.get('BEIT2_SOURCE')
pytestmark = pytest.mark.skipif(not SOURCE, reason='BEIT2_SOURCE does not name the folder beit2 of microsoft/unilm')
SIZES = dict(
    img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, qkv_bias=True,
    norm_layer=partial(nn.LayerNorm, eps=1e-6),
)  # fmt: skip
TOKENIZER = dict(use_abs_pos_emb=True, use_mean_pooling=True, init_values=0.0, num_classes=0, init_scale=0.001)


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[Import]:
    """Imports a module of the release. Two of its imports, which these modules do not use, are left empty."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(SOURCE))
    for name in ('utils', 'vqkd_teacher'):
        empty = ModuleType(name)
        empty.clip = empty.get_dino_vit_base = None  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, empty)
    yield importlib.import_module
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], '__file__', None) and str(SOURCE) in str(sys.modules[name].__file__):
            del sys.modules[name]


def randomise(model: nn.Module) -> nn.Module:
    """Weights large enough for every one of them to matter."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model


def under_the_names_of_the_release(model: nn.Module, tmp_path: Path) -> dict[str, torch.Tensor]:
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'ours.pth')
    state, _ = convert_checkpoint(str(tmp_path / 'ours.pth'), str(tmp_path / 'release.pth'), 'official')
    return state


@pytest.mark.parametrize('shared_head', [True, False])
def test_losses_and_gradients_of_pretraining(release: Import, tmp_path: Path, shared_head: bool) -> None:
    settings = tiny_pretraining()
    for part in ('neck', 'head'):
        settings[part] = settings[part] | dict(shared_head=shared_head)
    ours = randomise(MODELS.build(settings)).train()
    theirs = release('modeling_pretrain').VisionTransformerForMaskedImageModelingCLS(
        **SIZES,
        vocab_size=NUM_CODES,
        use_abs_pos_emb=False,
        use_shared_rel_pos_bias=True,
        init_values=0.1,
        early_layers=1,
        head_layers=2,
        shared_lm_head=shared_head,
    )
    state = under_the_names_of_the_release(ours, tmp_path)
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert all('relative_position_index' in name for name in missing)
    images, codes = torch.randn(3, 3, 32, 32), torch.randint(NUM_CODES, (3, 16))
    mask = torch.stack([torch.randperm(16) < 6 for _ in range(3)])
    losses = ours._loss(
        dict(images=images, mask=mask, masked_index=mask.nonzero()[:, 1].view(3, 6), views=None),  # type: ignore
        codes,
    )
    found = [losses['loss_mim'], losses['loss_mim_cls']]
    expected = [F.cross_entropy(logits, codes[mask]) for logits in theirs.train()(images, mask)]
    torch.testing.assert_close(found, expected)
    sum(found).backward()
    sum(expected).backward()
    torch.testing.assert_close(ours.backbone.cls_token.grad, theirs.cls_token.grad)
    torch.testing.assert_close(ours.backbone.patch_embed.proj.weight.grad, theirs.patch_embed.proj.weight.grad)
    torch.testing.assert_close(ours.head.lm_head.weight.grad, theirs.lm_head.weight.grad)


def test_codes_losses_and_codebook_of_the_tokenizer_over_three_steps(release: Import, tmp_path: Path) -> None:
    quantizer = dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=NUM_CODES, code_dim=8, kmeans_init=False)
    ours = randomise(MODELS.build(tiny_tokenizer(quantizer=quantizer))).train()
    decoder = SIZES | TOKENIZER | dict(img_size=4, patch_size=1, in_chans=8)
    theirs = release('modeling_vqkd').VQKD(
        SIZES | TOKENIZER, decoder, NUM_CODES, 8, quantize_kmeans_init=False, teacher_model_type='none',
        decoder_out_dim=24,
    )  # fmt: skip
    state = under_the_names_of_the_release(ours, tmp_path)
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    # The release keeps statistics that it never reads, and one copy of the codebook.
    assert {name.rpartition('.')[2] for name in missing} <= {'relative_position_index', 'cluster_size', 'embed_avg'}
    theirs.train()
    for step in range(3):
        images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(step)) * 2 - 1
        quantized, commitment, codes = ours.encode(images)
        their_quantized, their_codes, their_commitment = theirs.encode(images)
        assert torch.equal(codes.flatten(), their_codes.flatten())
        assert len(codes.unique()) > 3
        torch.testing.assert_close(quantized, their_quantized)
        torch.testing.assert_close(commitment, their_commitment)
        torch.testing.assert_close(ours.decode(quantized), theirs.decode(their_quantized))
        torch.testing.assert_close(ours.quantize.embedding.weight, theirs.quantize.embedding.weight)
    target = torch.randn(4, 16, 24)
    distance = 1 - F.cosine_similarity(ours.decode(quantized), target, dim=-1)
    torch.testing.assert_close(distance.mean(), theirs.calculate_rec_loss(theirs.decode(their_quantized), target))


def test_a_classifier_of_mean_patches(release: Import, tmp_path: Path) -> None:
    backbone = tiny_vit(rel_pos_bias='per_layer', final_norm='fc_norm', out_type='avg_featmap')
    head = dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=32)
    ours = randomise(MODELS.build(dict(type='mmpretrain.ImageClassifier', backbone=backbone, head=head))).eval()
    theirs = release('modeling_finetune').VisionTransformer(
        **SIZES, num_classes=5, use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.1, use_mean_pooling=True,
        init_scale=0.001,
    )  # fmt: skip
    missing, unexpected = theirs.load_state_dict(under_the_names_of_the_release(ours, tmp_path), strict=False)
    assert not unexpected
    assert all('relative_position_index' in name for name in missing)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs.eval()(images))


def test_masks_are_distributed_alike(release: Import) -> None:
    """4000 masks of each: how often each patch is hidden, and how many hidden patches have a hidden neighbor."""
    theirs = release('masking_generator').MaskingGenerator(14, 75, min_num_patches=16)
    ours = BlockMaskGenerator(14, 75, 16)
    random.seed(0)
    np.random.seed(0)
    masks = np.stack([theirs() for _ in range(4000)]).astype(bool), np.stack([ours.draw() for _ in range(4000)])
    shares = [drawn.mean(axis=0) for drawn in masks]
    assert np.abs(shares[0] - shares[1]).max() < 5 * (2 * 0.25 / 4000) ** 0.5  # standard deviations
    neighbors = [(drawn[:, 1:] & drawn[:, :-1]).sum() / drawn.sum() for drawn in masks]
    assert abs(neighbors[0] - neighbors[1]) < 0.005
