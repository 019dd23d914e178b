"""The command-line tools as a person runs them, at tiny size, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import (
    ROOT,
    classification_config,
    last_line,
    pretraining_config,
    run,
    tiny_pretraining,
    train,
)


def test_pretraining_trains_and_resumes(tmp_path: Path, image_folder: Path) -> None:
    config = pretraining_config(tmp_path, image_folder)
    output = train(config, tmp_path / 'work')
    for name in ('loss_mim', 'loss_mim_cls', 'acc_mim', 'acc_mim_cls'):
        assert re.search(rf'{name}: \d', output)
    resumed = train(config, tmp_path / 'work', '--resume', '--cfg-options', 'train_cfg.max_epochs=3')
    assert 'resumed epoch: 2' in resumed
    assert (tmp_path / 'work' / 'epoch_3.pth').is_file()


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_mixed_precision_trains_and_resumes(tmp_path: Path, image_folder: Path, dtype: str) -> None:
    config = pretraining_config(tmp_path, image_folder)
    assert re.search(r'loss_mim: \d', train(config, tmp_path / 'work', '--amp', dtype, gpus='0'))
    options = ('--amp', dtype, '--resume', '--cfg-options', 'train_cfg.max_epochs=3')
    assert 'resumed epoch: 2' in train(config, tmp_path / 'work', *options, gpus='0')


def test_classification_trains_and_its_checkpoint_is_scored(tmp_path: Path, image_folder: Path) -> None:
    config = classification_config(tmp_path, image_folder)
    train(config, tmp_path / 'work')
    checkpoint = str(tmp_path / 'work' / 'epoch_2.pth')
    options = ('--work-dir', str(tmp_path / 'test'), '--out', str(tmp_path / 'metrics.json'))
    run(sys.executable, 'tools/test.py', config, checkpoint, *options)
    assert 0 <= json.loads((tmp_path / 'metrics.json').read_text())['accuracy/top1'] <= 100
    wider = classification_config(tmp_path, image_folder, width=64)
    message = run(sys.executable, 'tools/test.py', wider, checkpoint, *options, ok=False)
    assert re.search(r'does not fit: \S+ has shape \(.*32.*\) in the file and \(.*64.*\) in the model', message)


def test_dist_train_and_dist_test_run_two_processes_on_cpu(tmp_path: Path, image_folder: Path) -> None:
    config = classification_config(tmp_path, image_folder)
    output = run('bash', 'tools/dist_train.sh', config, '2', '--work-dir', str(tmp_path / 'work'))
    assert 'Epoch(train) [2][2/2]' in output
    run(
        'bash',
        'tools/dist_test.sh',
        config,
        str(tmp_path / 'work' / 'epoch_2.pth'),
        '2',
        '--work-dir',
        str(tmp_path),
        '--out',
        str(tmp_path / 'm.json'),
    )
    assert 'accuracy/top1' in json.loads((tmp_path / 'm.json').read_text())


def test_bad_input_gets_one_sentence_and_no_traceback(tmp_path: Path, image_folder: Path) -> None:
    good = pretraining_config(tmp_path, image_folder)
    (image_folder / 'empty').mkdir()
    (tmp_path / 'syntax.py').write_text('model = dict(\n')
    broken = tmp_path / 'broken'
    broken.mkdir()
    for i in range(4):
        (broken / f'{i}.jpg').write_bytes(b'\xff\xd8\xff')
    root = 'train_dataloader.dataset.data_root'
    cases = [
        (('nowhere.py',), "config 'nowhere.py' not found"),
        ((str(tmp_path / 'syntax.py'),), 'syntax.py. cannot be read: line 1: '),
        ((good, '--cfg-options', f'{root}=nowhere'), "image folder 'nowhere' not found"),
        ((good, '--cfg-options', f'{root}={image_folder / "empty"}'), 'holds no image'),
        ((good, '--cfg-options', f'{root}={broken}'), r"broken/\d.jpg' cannot be read"),
        (
            (good, '--cfg-options', f'{root}={broken}', 'train_dataloader.num_workers=1'),
            r"broken/\d.jpg' cannot be read",
        ),
        ((good, '--cfg-options', 'load_from=none.pth'), "checkpoint 'none.pth' not found"),
        ((good, '--amp'), '--amp needs a GPU'),
    ]
    for arguments, message in cases:
        output = train(arguments[0], tmp_path / 'work', *arguments[1:], ok=False)
        assert re.match(f'train.py: error: .*{message}', last_line(output)), output[-1500:]
        assert 'Traceback' not in output, arguments


def test_a_missing_tokenizer_checkpoint_is_named(tmp_path: Path, image_folder: Path) -> None:
    tokenizer = tiny_pretraining()['tokenizer'] | dict(
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='none.pth')
    )
    config = pretraining_config(tmp_path, image_folder, tokenizer=tokenizer)
    assert "checkpoint 'none.pth' not found" in last_line(train(config, tmp_path / 'work', ok=False))


@pytest.mark.parametrize(
    ('arguments', 'message'), [((), 'usage: tools/dist_train.sh CONFIG GPUS'), (('a.py', 'x'), "whole number, not 'x'")]
)
def test_dist_train_explains_itself(arguments: tuple, message: str) -> None:
    assert message in run('bash', 'tools/dist_train.sh', *arguments, ok=False)


def test_slurm_gets_one_process_per_gpu(tmp_path: Path) -> None:
    srun = tmp_path / 'srun'  # prints what it is asked to start
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    environment = os.environ | {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'GPUS': '16', 'SRUN_ARGS': '--qos high'}
    command = ['bash', 'tools/slurm_train.sh', 'part', 'job', 'configs/a.py', '--amp']
    asked = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=True).stdout
    assert asked.startswith('--partition=part --job-name=job --gres=gpu:8 --ntasks=16 --ntasks-per-node=8')
    assert '--qos high python -u ' in asked
    assert asked.endswith('train.py configs/a.py --amp --launcher slurm\n')
    assert 'usage: GPUS=8 tools/slurm_test.sh' in run('bash', 'tools/slurm_test.sh', 'part', ok=False)
