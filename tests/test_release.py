"""Against numbers of the authors' own modules, see tests/golden.py: released names, and what they compute.

Where a clone of microsoft/unilm is at hand, BEIT2_SOURCE names its folder beit2, and the numbers are computed anew.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmbeitv2.checkpoints import convert_checkpoint
from mmbeitv2.datasets import BlockMaskGenerator
from mmbeitv2.layers.positions import resize_relative_position_table
from tests import golden
from tests.conftest import tiny_pretraining, tiny_tokenizer, tiny_vit

GOLDEN = json.loads(golden.FILE.read_text())
SOURCE = os.environ.get('BEIT2_SOURCE')
needs_source = pytest.mark.skipif(not SOURCE, reason='BEIT2_SOURCE does not name the folder beit2 of microsoft/unilm')


def load(config: dict, shapes: dict, tmp_path: Path) -> nn.Module:
    """The model with the weights of the golden run, from a file with the names of the release."""
    model = MODELS.build(config)
    torch.save(dict(model=golden.weights(shapes)), tmp_path / 'release.pth')
    state, _ = convert_checkpoint(str(tmp_path / 'release.pth'), str(tmp_path / 'ours.pth'), 'mmbeitv2')
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert not set(missing) & {name for name, _ in model.named_parameters()}
    return model


def assert_close(found: Tensor, expected: list) -> None:
    torch.testing.assert_close(found.flatten(), torch.tensor(expected).flatten(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('bias', ['shared', 'per_layer'])
def test_a_classifier_of_mean_patches(bias: str, tmp_path: Path) -> None:
    backbone = tiny_vit(rel_pos_bias=bias, final_norm='fc_norm', use_abs_pos_emb=bias == 'shared')
    head = dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=32)
    preprocessor = dict(type='mmpretrain.ClsDataPreprocessor')
    config = dict(type='mmpretrain.ImageClassifier', backbone=backbone, head=head, data_preprocessor=preprocessor)
    model = load(config, GOLDEN['backbone'][bias]['shapes'], tmp_path).eval()
    assert_close(model(golden.images()), GOLDEN['backbone'][bias]['logits'])


@pytest.mark.parametrize(('bias', 'shared_head'), [('shared', True), ('shared', False), ('per_layer', True)])
def test_losses_and_gradients_of_pretraining(bias: str, shared_head: bool, tmp_path: Path) -> None:
    expected = GOLDEN['pretraining'][f'{bias} {shared_head}']
    config = tiny_pretraining()
    config['backbone']['rel_pos_bias'] = bias
    for part in ('neck', 'head'):
        config[part] = config[part] | dict(shared_head=shared_head)
    model = load(config, expected['shapes'], tmp_path).train()
    mask, images, codes = golden.mask(), golden.images(), torch.arange(12) % golden.NUM_CODES
    batch = dict(images=images, mask=mask, masked_index=mask.nonzero()[:, 1].view(2, 6), views=images)
    every_code = torch.zeros(2, 16, dtype=torch.long).masked_scatter(mask, codes)
    losses = model._loss(batch, every_code)
    for name, logits in zip(('loss_mim', 'loss_mim_cls'), expected['logits'], strict=True):
        wanted = F.cross_entropy(torch.tensor(logits).view(12, -1), codes)
        torch.testing.assert_close(losses[name], wanted, rtol=1e-4, atol=1e-5)
    (losses['loss_mim'] + losses['loss_mim_cls']).backward()
    for name, gradient in expected['gradients'].items():
        assert_close(model.backbone.get_parameter(name).grad, gradient)


def test_codes_losses_and_codebook_of_the_tokenizer_over_three_steps(tmp_path: Path) -> None:
    quantizer = dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=golden.NUM_CODES, code_dim=8, kmeans_init=False)
    model = load(tiny_tokenizer(quantizer=quantizer), GOLDEN['tokenizer']['shapes'], tmp_path).train()
    for step, expected in enumerate(GOLDEN['tokenizer']['steps']):
        quantized, commitment, codes = model.encode(golden.images(step))
        assert codes.flatten().tolist() == expected['codes']
        assert len(codes.unique()) > 3
        assert_close(commitment, expected['commitment'])
        assert_close(model.decode(quantized)[:, ::5], expected['decoded'])
        assert_close(model.lookup(torch.arange(golden.NUM_CODES)), expected['codebook'])


def test_relative_position_tables_are_resized_alike() -> None:
    h, w = golden.SOURCE_GRID
    table = golden.values(golden.RESIZED, ((2 * h - 1) * (2 * w - 1) + 3, 2))
    resized = resize_relative_position_table(table, golden.SOURCE_GRID, golden.TARGET_GRID, 'geometric')
    assert_close(resized, GOLDEN['resized']['table'])


@needs_source
def test_the_numbers_are_those_of_the_authors_modules() -> None:
    def compare(found: object, stored: object) -> None:
        if isinstance(stored, dict):
            assert found.keys() == stored.keys()
            for key, value in stored.items():
                compare(found[key], value)
        elif isinstance(stored, list) and isinstance(stored[0], (dict, list)):
            for one, other in zip(found, stored, strict=True):
                compare(one, other)
        else:
            assert found == pytest.approx(stored, rel=1e-4, abs=1e-5)

    compare(golden.compute(str(SOURCE)), GOLDEN)


@needs_source
def test_masks_are_distributed_alike() -> None:
    """4000 masks of each: how often each patch is hidden, and how many hidden patches have a hidden neighbor."""
    theirs = golden.import_release(str(SOURCE), 'masking_generator').MaskingGenerator(14, 75, min_num_patches=16)
    ours = BlockMaskGenerator(14, 75, 16)
    random.seed(0)
    np.random.seed(0)
    masks = np.stack([theirs() for _ in range(4000)]).astype(bool), np.stack([ours.draw() for _ in range(4000)])
    shares = [drawn.mean(axis=0) for drawn in masks]
    assert np.abs(shares[0] - shares[1]).max() < 5 * (2 * 0.25 / 4000) ** 0.5  # standard deviations
    neighbors = [(drawn[:, 1:] & drawn[:, :-1]).sum() / drawn.sum() for drawn in masks]
    assert abs(neighbors[0] - neighbors[1]) < 0.005
