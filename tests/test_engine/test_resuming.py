"""A run that is killed and resumed ends as one left alone, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmbeitv2.engine.resuming import AtomicBackend
from tests.conftest import ROOT, tiny_pretraining, tiny_tokenizer, tiny_vit
from tests.test_engine.test_monitoring import TEACHER
from tests.test_tools.test_train import train

RUNTIME = """
default_scope = 'mmpretrain'
default_hooks = dict(checkpoint=dict(type='mmbeitv2.AtomicCheckpointHook', interval=1, max_keep_ckpts=1),
                     logger=dict(type='LoggerHook', interval=1))
custom_hooks = [dict(type='mmbeitv2.SeedStepHook')]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), clip_grad=dict(max_norm=3.0),
                     constructor='mmbeitv2.LayerDecayOptimWrapperConstructor')
param_scheduler = [dict(type='LinearLR', start_factor=0.1, begin=0, end=1, convert_to_iter_based=True),
                   dict(type='CosineAnnealingLR', T_max=3, begin=1, end=4, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=4)
randomness = dict(seed=5)
"""
LOADER = """
train_dataloader = dict(batch_size=4, num_workers=2, persistent_workers=True, collate_fn=dict(type='default_collate'),
                        sampler=dict(type='mmbeitv2.SeededSampler', shuffle=True),
                        dataset=dict(type='mmbeitv2.ImageFolder', data_root={root!r}, pipeline={pipeline}))
"""
CROP = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='RandomResizedCrop', scale=32),
    dict(type='RandomFlip', prob=0.5),
]
MASKED = [
    *CROP,
    dict(type='mmbeitv2.DrawColorJitter'),
    dict(type='mmbeitv2.BlockMaskGenerator', grid_size=4, num_masked=6, min_block=2),
    dict(type='mmbeitv2.PackMaskedImage'),
]


def pretraining(root: Path) -> str:
    backbone = tiny_vit(
        out_indices=(0, 1), out_type='raw', final_norm='deferred', use_mask_token=True, drop_path_rate=0.3
    )
    model = tiny_pretraining(backbone=backbone)
    # The tokenizer has random weights, by randomness.seed the same in every run.
    return RUNTIME + LOADER.format(root=str(root), pipeline=MASKED) + f'model = {model!r}\n'


def tokenizer(root: Path) -> str:
    quantizer = dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=16, code_dim=8, dead_code_steps=2)
    model = tiny_tokenizer(
        quantizer=quantizer,
        teacher=TEACHER | dict(pretrained=str(root.parent / 'teacher.pth')),
        target_dims=None,
        data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
    )
    return RUNTIME + LOADER.format(root=str(root), pipeline=[*CROP, dict(type='PackInputs')]) + f'model = {model!r}\n'


def final_weights(work_dir: Path) -> dict:
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_4.pth')
    assert [path.name for path in work_dir.glob('*.pth')] == ['epoch_4.pth']
    content = torch.load(work_dir / 'epoch_4.pth', weights_only=False)
    weights = {f'weight {key}': value for key, value in content['state_dict'].items()}
    for index, state in content['optimizer']['state'].items():
        weights |= {f'{key} {index}': value for key, value in state.items()}
    return weights


@pytest.mark.parametrize('stage', [pretraining, tokenizer])
def test_killed_and_resumed_ends_as_left_alone(tmp_path: Path, image_folder: Path, stage: object) -> None:
    if stage is tokenizer:
        import timm

        torch.save(timm.create_model('vit_tiny_patch16_224', num_classes=0).state_dict(), tmp_path / 'teacher.pth')
    config = tmp_path / 'config.py'
    config.write_text(stage(image_folder))  # type: ignore[operator]
    train(str(config), tmp_path / 'alone')
    # Killed in the middle of the third epoch.
    log = tmp_path / 'killed.log'
    with log.open('w') as stream:
        process = subprocess.Popen(
            [sys.executable, 'tools/train.py', str(config), '--work-dir', str(tmp_path / 'killed')],
            cwd=ROOT,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ | {'CUDA_VISIBLE_DEVICES': ''},
            start_new_session=True,
        )
        deadline = time.monotonic() + 200
        while 'Epoch(train) [3][2/4]' not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (tmp_path / 'killed' / 'epoch_4.pth').exists()
    train(str(config), tmp_path / 'killed', '--resume')
    alone, resumed = final_weights(tmp_path / 'alone'), final_weights(tmp_path / 'killed')
    assert alone.keys() == resumed.keys()
    different = [key for key in alone if not torch.equal(alone[key], resumed[key])]
    assert not different


def test_a_kill_while_saving_leaves_the_former_file_whole(tmp_path: Path) -> None:
    script = (
        'import os, signal, sys; from mmbeitv2.engine.resuming import AtomicBackend; '
        'os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL); AtomicBackend().put(b"new", sys.argv[1])'
    )
    backend = AtomicBackend()
    backend.put(b'former', tmp_path / 'deep' / 'file')
    result = subprocess.run([sys.executable, '-c', script, str(tmp_path / 'deep' / 'file')], cwd=ROOT)
    assert result.returncode == -signal.SIGKILL
    assert (tmp_path / 'deep' / 'file').read_bytes() == b'former'
    backend.put_text('newer', tmp_path / 'deep' / 'file')
    assert (tmp_path / 'deep' / 'file').read_text() == 'newer'
