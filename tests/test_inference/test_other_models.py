"""Models of other libraries go through the same commands: what train.py made is scored, resumed and loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import CROP, LOADER, RUNTIME, refused, run_tool, write_config


def vit_config(tmp_path: Path, root: Path) -> str:
    """mmpretrain's own vision transformer, whose names are much like those of mmpretrain's BEiT."""
    arch = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
    backbone = dict(type='VisionTransformer', arch=arch, img_size=32, patch_size=8)
    head = dict(type='LinearClsHead', num_classes=2, in_channels=32, topk=(1,))
    text = RUNTIME.format(scope='mmpretrain')
    text += LOADER.format(root=str(root), label=True, pipeline=[*CROP, dict(type='mmpretrain.PackInputs')])
    text += f"model = dict(type='ImageClassifier', backbone={backbone!r}, head={head!r})\n"
    text += 'train_cfg.update(max_epochs=1)\nrandomness.update(seed=0)\n'
    text += 'data_preprocessor = dict(num_classes=2, mean=[128]*3, std=[64]*3)\n'
    text += 'test_dataloader = dict(train_dataloader, drop_last=False)\ntest_cfg = dict()\n'
    return write_config(tmp_path, text + "test_evaluator = dict(type='Accuracy', topk=(1,))\n")


def test_a_vision_transformer_of_mmpretrain_is_trained_scored_resumed_and_loaded(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    config, work = vit_config(tmp_path, image_folder), str(tmp_path / 'work')
    run_tool('train', config, '--work-dir', work)
    checkpoint = f'{work}/epoch_1.pth'
    out = tmp_path / 'metrics.json'
    run_tool('test', config, checkpoint, '--work-dir', str(tmp_path / 'test'), '--out', str(out))
    assert 0 <= json.loads(out.read_text())['accuracy/top1'] <= 100
    more = ['--cfg-options', 'train_cfg.max_epochs=2']
    run_tool('train', config, '--work-dir', work, '--resume', checkpoint, *more)
    content = torch.load(f'{work}/epoch_2.pth', weights_only=False)
    assert content['meta']['iter'] == 8
    other = str(tmp_path / 'other')
    run_tool('train', config, '--work-dir', other, '--cfg-options', f'load_from={checkpoint}')
    assert Path(other, 'epoch_1.pth').is_file()
    broken = torch.load(checkpoint, weights_only=False)
    broken['state_dict']['head.fc.bias'][0] = float('nan')
    torch.save(broken, tmp_path / 'nan.pth')
    said = refused(capsys, 'test', config, str(tmp_path / 'nan.pth'), '--work-dir', str(tmp_path / 'test'))
    assert 'NaN or infinite numbers (1 of 2 in head.fc.bias)' in said
