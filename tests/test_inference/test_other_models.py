"""Models of other libraries go through the same commands: what train.py made is scored, resumed and loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmbeitv2.apis import VisualTokenizer, load_model, probe_features
from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS
from mmbeitv2.visualization.attention import attention_picture
from mmbeitv2.visualization.masks import masks_picture
from mmbeitv2.visualization.patch_pca import patch_pca_picture
from tests.conftest import MASKED, ROOT, classification_config, refused, run_tool, tiny_pretraining, write_model
from tests.test_docs.blocks import blocks_of


def test_a_vision_transformer_of_mmpretrain_is_trained_scored_resumed_and_loaded(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    # Whose names are much like those of mmpretrain's BEiT.
    arch = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
    vit = dict(type='VisionTransformer', arch=arch, img_size=32, patch_size=8)
    config, work = classification_config(tmp_path, image_folder, backbone=vit), str(tmp_path / 'work')
    once = ['--cfg-options', 'train_cfg.max_epochs=1']
    run_tool('train', config, '--work-dir', work, *once)
    checkpoint = f'{work}/epoch_1.pth'
    out = tmp_path / 'metrics.json'
    run_tool('test', config, checkpoint, '--work-dir', str(tmp_path / 'test'), '--out', str(out))
    assert 0 <= json.loads(out.read_text())['accuracy/top1'] <= 100
    run_tool('train', config, '--work-dir', work, '--resume', checkpoint)
    content = torch.load(f'{work}/epoch_2.pth', weights_only=False)
    assert content['meta']['iter'] == 8
    other = str(tmp_path / 'other')
    run_tool('train', config, '--work-dir', other, *once, f'load_from={checkpoint}')
    assert Path(other, 'epoch_1.pth').is_file()
    broken = torch.load(checkpoint, weights_only=False)
    broken['state_dict']['head.fc.bias'][0] = float('nan')
    torch.save(broken, tmp_path / 'nan.pth')
    said = refused(capsys, 'test', config, str(tmp_path / 'nan.pth'), '--work-dir', str(tmp_path / 'test'))
    assert 'NaN or infinite numbers (1 of 2 in head.fc.bias)' in said


def test_the_parts_of_the_extend_page_work_in_every_tool(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {name: found for name, found in MODELS.module_dict.items() if name not in ('ColorTokenizer', 'TorchViT')}
    monkeypatch.setattr(MODELS, '_module_dict', others)  # another test reads the page as well
    names: dict = {}
    for block in blocks_of(ROOT / 'docs' / 'guides' / 'extend.md'):
        if 'class ColorTokenizer' in block.code or 'class TorchViT' in block.code:
            exec(block.code, names)
    tokenizer = dict(type='mmbeitv2.ColorTokenizer', img_size=32, patch_size=8)
    backbone = dict(type='mmbeitv2.TorchViT', img_size=32, patch_size=8, embed_dims=48, depth=2)
    model = tiny_pretraining(tokenizer=tokenizer, backbone=backbone)
    config, checkpoint = write_model(
        tmp_path, 'own', model, f'train_dataloader = dict(dataset=dict(pipeline={MASKED!r}))\n'
    )
    cfg, images = Config.fromfile(config), sorted(image_folder.rglob('*.jpg'))[:2]
    features = probe_features(config, checkpoint, image_folder, image_folder, 1, num_workers=0, device='cpu')
    assert features['knn_top1'] == 100  # each image is its own nearest neighbor
    assert len(masks_picture(cfg, checkpoint, images).axes) == 8
    with pytest.raises(InputError, match='do not call F.scaled_dot_product_attention'):
        attention_picture(cfg, checkpoint, images[0])
    assert len(patch_pca_picture([('own', cfg, checkpoint)], images, [0, -1], device='cpu').axes) == 6
    weights = torch.load(checkpoint)['state_dict']
    loaded = load_model(cfg, checkpoint, 'backbone').state_dict()
    assert all(torch.equal(value, weights[f'backbone.{key}']) for key, value in loaded.items())
    for missing in (None, ''):
        assert VisualTokenizer(Config(dict(model=tokenizer)), missing, device='cpu')(images[0]).shape == (1, 4, 4)
