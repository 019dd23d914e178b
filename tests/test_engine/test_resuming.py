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

from mmbeitv2.fileio import AtomicBackend
from tests.conftest import ROOT, resumable_pretraining, resumable_tokenizer, train


def final_weights(work_dir: Path) -> dict:
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_4.pth')
    assert [path.name for path in work_dir.glob('*.pth')] == ['epoch_4.pth']
    content = torch.load(work_dir / 'epoch_4.pth', weights_only=False)
    weights = {f'weight {key}': value for key, value in content['state_dict'].items()}
    for index, state in content['optimizer']['state'].items():
        weights |= {f'{key} {index}': value for key, value in state.items()}
    return weights


@pytest.mark.parametrize('stage', [resumable_pretraining, resumable_tokenizer])
def test_killed_and_resumed_ends_as_left_alone(tmp_path: Path, image_folder: Path, stage: object) -> None:
    if stage is resumable_tokenizer:
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
        'import os, signal, sys; from mmbeitv2.fileio import AtomicBackend; '
        'os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL); AtomicBackend().put(b"new", sys.argv[1])'
    )
    backend = AtomicBackend()
    backend.put(b'former', tmp_path / 'deep' / 'file')
    result = subprocess.run([sys.executable, '-c', script, str(tmp_path / 'deep' / 'file')], cwd=ROOT)
    assert result.returncode == -signal.SIGKILL
    assert (tmp_path / 'deep' / 'file').read_bytes() == b'former'
    backend.put_text('newer', tmp_path / 'deep' / 'file')
    assert (tmp_path / 'deep' / 'file').read_text() == 'newer'
