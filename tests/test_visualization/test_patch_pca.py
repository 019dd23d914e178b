"""tools/visualize_patch_pca.py, and what it computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmbeitv2.visualization.features import load_backbone
from mmbeitv2.visualization.patch_pca import patch_features, patch_pca_picture
from mmbeitv2.visualization.pictures import principal_colors
from tests.conftest import randomize, tiny_pretraining, tiny_tokenizer, tiny_vit


def test_colors_are_the_first_three_principal_components_of_all_images() -> None:
    features = torch.randn(2, 4, 5, 6) * torch.tensor([5.0, 0.1, 3.0, 0.2, 1.0, 0.3]) + 7
    colors, share = principal_colors(features)
    assert colors.shape == (2, 4, 5, 3)
    rows = features.double().flatten(0, 2).numpy()
    centered = rows - rows.mean(axis=0)
    _, values, vectors = np.linalg.svd(centered, full_matrices=False)
    assert share == pytest.approx((values[:3] ** 2).sum() / (values**2).sum())
    for found, vector in zip(colors.reshape(-1, 3).T, vectors, strict=False):
        component = centered @ (vector * np.sign(vector[np.abs(vector).argmax()]))
        low, high = np.percentile(component, [1, 99])
        np.testing.assert_allclose(found, ((component - low) / (high - low)).clip(0, 1), atol=1e-6)


def test_features_are_the_tokens_behind_the_blocks_at_any_size() -> None:
    vit = tiny_vit(use_abs_pos_emb=True, final_norm='norm', out_type='avg_featmap')
    backbone = randomize(MODELS.build(vit)).eval()
    images = torch.randn(2, 3, 48, 48)
    outputs = []
    for part in (backbone.blocks[0], backbone.norm):
        part.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        backbone(images)
    first, last = (output[:, 1:].unflatten(1, (6, 6)) for output in outputs)
    found = patch_features(backbone, images, [1, 0])
    torch.testing.assert_close(found[0], first, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1], last, atol=1e-5, rtol=1e-4)


def test_any_config_with_a_backbone_can_be_looked_at(tmp_path: Path) -> None:
    tokenizer = MODELS.build(tiny_tokenizer())
    torch.save(tokenizer.state_dict(), tmp_path / 'tokenizer.pth')
    encoder = load_backbone(Config(dict(model=tiny_tokenizer())), str(tmp_path / 'tokenizer.pth'))
    torch.testing.assert_close(encoder.state_dict(), tokenizer.encoder.state_dict())
    classifier = dict(type='ImageClassifier', backbone=tiny_vit(rel_pos_bias='per_layer', final_norm='fc_norm'))
    pretraining = MODELS.build(tiny_pretraining())
    torch.save(pretraining.state_dict(), tmp_path / 'pretraining.pth')
    backbone = load_backbone(Config(dict(model=classifier)), str(tmp_path / 'pretraining.pth'))
    torch.testing.assert_close(backbone.patch_embed.proj.weight, pretraining.backbone.patch_embed.proj.weight)


def test_each_checkpoint_and_layer_is_a_column(image_folder: Path, pretrained: tuple[str, str]) -> None:
    cfg, checkpoint = Config.fromfile(pretrained[0]), pretrained[1]
    paths = sorted((image_folder / 'cat/nested').iterdir())[:3]
    figure = patch_pca_picture([('a', cfg, checkpoint), ('b$', cfg, checkpoint)], paths, [0, -1], side=48)
    titles = [axis.get_title().split(',')[0] for axis in figure.axes[:5]]
    assert titles == ['', 'a\nlayer 0', 'a\nlayer 1', 'b$\nlayer 0', 'b$\nlayer 1']
    shapes = [axis.images[0].get_array().shape for axis in figure.axes]
    assert shapes == [(48, 48, 3), *[(6, 6, 3)] * 4] * 3
    figure.canvas.draw()
