"""The command-line tools as a person runs them, at tiny size, in processes of their own."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from mmbeitv2.inference.config import read_config
from tests.conftest import (
    ROOT,
    classification_config,
    forget_former_runs,
    free_port,
    pretraining_config,
    randomize,
    refused,
    run,
    run_tool,
    train,
)
from tests.test_docs.forks import run_bash

LONGER = 'train_cfg.max_epochs=3'


def random_checkpoint(config: str) -> str:
    """A checkpoint, beside the config, of its model with random weights."""
    cfg, path = read_config(config), Path(config).with_suffix('.pth')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        torch.save(dict(state_dict=randomize(MODELS.build(cfg.model)).state_dict()), path)
    forget_former_runs()
    return str(path)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_mixed_precision_trains_and_resumes(tmp_path: Path, image_folder: Path, dtype: str) -> None:
    config = pretraining_config(tmp_path, image_folder)
    assert re.search(r'loss_mim: \d', train(config, tmp_path / 'work', '--amp', dtype, gpus='0'))
    options = ('--amp', dtype, '--resume', '--cfg-options', LONGER)
    assert 'resumed epoch: 2' in train(config, tmp_path / 'work', *options, gpus='0')


def test_classification_trains_and_its_checkpoint_is_scored(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    config = classification_config(tmp_path, image_folder)
    run_tool('train', config, '--work-dir', str(tmp_path / 'work'))
    checkpoint = str(tmp_path / 'work' / 'epoch_2.pth')
    options = ('--work-dir', str(tmp_path / 'test'), '--out', str(tmp_path / 'metrics.json'))
    run_tool('test', config, checkpoint, *options)
    assert 0 <= json.loads((tmp_path / 'metrics.json').read_text())['accuracy/top1'] <= 100
    tests = (config, checkpoint, '--work-dir', str(tmp_path / 'test'))
    run_tool('test', *tests, '--out', str(tmp_path / 'predictions.pkl'), '--tta')
    run_tool('test', *tests, '--show-dir', str(tmp_path / 'shown'))
    with (tmp_path / 'predictions.pkl').open('rb') as stream:
        assert len(pickle.load(stream)) == 16
    assert len(list((tmp_path / 'shown').iterdir())) == 16  # also of both classes' images of one name
    for arguments, sentence in (
        (('--out', f'{config}/metrics.json'), r'cannot write to .* \(Not a directory\). Choose another path'),
        (('--out', str(tmp_path)), r'must end in .json \(for metrics\) or .pkl \(for predictions\)'),
        (('--tta', '--show-dir', 'shown'), 'Leave one of them out'),
    ):
        assert re.search(sentence, refused(capsys, 'test', *tests, *arguments))
    wider = classification_config(tmp_path, image_folder, width=64)
    said = refused(capsys, 'test', wider, checkpoint, *options)
    assert re.search(r'does not fit: \S+ has shape \(.*32.*\) in the file and \(.*64.*\) in the model', said)


def test_slurm_gets_one_process_per_gpu_each_of_which_knows_its_rank(tmp_path: Path) -> None:
    commands = {
        'srun': 'echo "$@"; while [ "$1" != bash ]; do shift; done; "$@"',  # what it is asked to start, which it starts
        'scontrol': '[ "$3" = "node[1-2]" ] && echo node1 && echo node2',
        'python': 'echo "$RANK of $WORLD_SIZE, $LOCAL_RANK here, $MASTER_ADDR:$MASTER_PORT: $@"',
    }
    for name, body in commands.items():
        (tmp_path / name).write_text(f'#!/bin/sh\n{body}\n')
        (tmp_path / name).chmod(0o755)
    slurm = {'SLURM_NTASKS': '16', 'SLURM_PROCID': '9', 'SLURM_LOCALID': '1', 'SLURM_NODELIST': 'node[1-2]'}
    environment = os.environ | slurm | {'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
    environment |= {'GPUS': '16', 'SRUN_ARGS': '--qos high', 'MASTER_PORT': '29501'}
    command = ['bash', 'tools/slurm_train.sh', 'part', 'job', 'configs/a.py', '--amp']
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=True).stdout
    assert said.startswith('--partition=part --job-name=job --gres=gpu:8 --ntasks=16 --ntasks-per-node=8')
    assert '--qos high bash ' in said
    started = '9 of 16, 1 here, node1:29501: -u tools/train.py configs/a.py --amp --launcher pytorch\n'
    assert said.endswith(started)
    assert 'usage: GPUS=8 tools/slurm_test.sh' in run('bash', 'tools/slurm_test.sh', 'part', ok=False)


def test_dist_test_scores_by_two_processes(tmp_path: Path, image_folder: Path) -> None:
    config, out = classification_config(tmp_path, image_folder), tmp_path / 'metrics.json'
    command = f'bash tools/dist_test.sh {config} {random_checkpoint(config)} 2 --work-dir {tmp_path} --out {out}'
    exit_code, output = run_bash(command)
    assert exit_code == 0, output
    assert 'accuracy/top1' in json.loads(out.read_text())


def test_dist_train_explains_itself_once() -> None:
    assert 'usage: tools/dist_train.sh CONFIG GPUS' in run('bash', 'tools/dist_train.sh', ok=False)
    said = run('bash', 'tools/dist_train.sh', 'a.py', '2', '--ampp', ok=False)
    assert said.count('unrecognized arguments: --ampp') == 1


def test_a_machine_says_what_it_waits_for_and_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = dict(NNODES='2', NODE_RANK='0', MASTER_ADDR='127.0.0.1', PORT=str(free_port()), RDZV_TIMEOUT='1')
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    output = run('bash', 'tools/dist_train.sh', 'a.py', '1', ok=False)
    assert f'machine 0 of 2 waits for the others at 127.0.0.1:{settings["PORT"]}, at most 1 s' in output


def test_a_config_with_averaged_weights_is_scored_with_them(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    config = classification_config(tmp_path, image_folder)
    with Path(config).open('a') as stream:
        stream.write("custom_hooks = [dict(type='EMAHook', momentum=0.5)]\n")
    run_tool('train', config, '--work-dir', str(tmp_path / 'work'))
    checkpoint = str(tmp_path / 'work' / 'epoch_2.pth')
    scores = []
    for hooks in ('EMAHook', 'none'):
        if hooks == 'none':  # the weights of the file alone
            Path(config).write_text(Path(config).read_text().partition('custom_hooks')[0])
        out = tmp_path / f'{hooks}.pkl'
        capsys.readouterr()
        run_tool('test', config, checkpoint, '--work-dir', str(tmp_path / 'test'), '--out', str(out))
        assert 'The weights are the averages of training' in capsys.readouterr().out
        scores.append([sample['pred_score'].tolist() for sample in pickle.loads(out.read_bytes())])
    assert scores[0] == scores[1]
    state = torch.load(checkpoint, weights_only=False)
    key = 'head.fc.weight'
    assert not torch.equal(state['state_dict'][key], state['ema_state_dict'][f'module.{key}'])


def test_a_pretraining_checkpoint_is_scored_with_its_own_tokenizer_only(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    config = pretraining_config(tmp_path, image_folder)
    with Path(config).open('a') as stream:
        stream.write('test_dataloader, test_cfg = dict(train_dataloader, drop_last=False), dict()\n'
                     "test_evaluator = dict(type='mmbeitv2.MaskedTokenAccuracy')\n")  # fmt: skip
    run_tool('train', config, '--work-dir', str(tmp_path / 'work'))
    command = [config, str(tmp_path / 'work' / 'epoch_2.pth'), '--work-dir', str(tmp_path / 'test'), '--cfg-options']
    refusal = refused(capsys, 'test', *command, 'randomness.seed=1')  # the weights of the tokenizer are random here
    assert 'was pretrained with another tokenizer' in refusal
    run_tool('test', *command, 'randomness.seed=0')


def test_classes_are_scored_in_the_order_of_the_training_only(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    config = Path(classification_config(tmp_path, image_folder))
    run_tool('train', str(config), '--work-dir', str(tmp_path / 'work'))
    command = [str(config), str(tmp_path / 'work' / 'epoch_2.pth'), '--work-dir', str(tmp_path / 'test')]
    text = config.read_text() + 'names = dict(classes=NAMES)\n'
    text += "test_dataloader['dataset'] = dict(train_dataloader['dataset'], metainfo=names)\n"
    config.write_text(text.replace('NAMES', "('dog', 'cat')"))
    said = refused(capsys, 'test', *command)
    assert "number 0 is 'cat' and 'dog'. Put the classes into the order of the training" in said
    config.write_text(text.replace('NAMES', "('Katze', 'Hund')"))
    run_tool('test', *command)
    assert "number 0 is 'cat' and 'Katze'. This is right only if both names mean the same" in capsys.readouterr().out


def test_pictures_of_images_of_one_name_in_two_classes_are_kept(tmp_path: Path, image_folder: Path) -> None:
    config = classification_config(tmp_path, image_folder)
    folder = tmp_path / 'pictures'
    command = ['test', config, random_checkpoint(config), '--work-dir', str(tmp_path / 'work')]
    run_tool(*command, '--show-dir', str(folder))
    assert len(list(folder.glob('*.png'))) == len(list(image_folder.rglob('*.jpg')))


def test_a_model_that_saves_its_lora_layers_only_is_resumed_and_scored(tmp_path: Path, image_folder: Path) -> None:
    config, work_dir = classification_config(tmp_path, image_folder), tmp_path / 'work'
    text = Path(config).read_text().replace('data_preprocessor = ', "model['data_preprocessor'] = ")
    lora = "model = dict(type='LoRAModel', module=model, alpha=4, rank=2, targets=[dict(type='qkv')])\n"
    Path(config).write_text(text + lora)
    run_tool('train', config, '--work-dir', str(work_dir))
    still = ('--cfg-options', LONGER, 'optim_wrapper.optimizer.lr=0')
    run_tool('train', config, '--work-dir', str(work_dir), '--resume', *still)
    before, after = (torch.load(work_dir / f'epoch_{n}.pth', weights_only=False)['state_dict'] for n in (2, 3))
    assert len(before) == 4
    assert all('.lora_' in key for key in before)
    assert all(before[key].any() and torch.equal(before[key], after[key]) for key in before)  # lora_up began as zeros
    torch.save(dict(state_dict={key: value.zero_() for key, value in before.items()}), work_dir / 'epoch_0.pth')
    scores = []
    for name in ('epoch_2', 'epoch_3', 'epoch_0'):
        out = tmp_path / f'{name}.pkl'
        run_tool('test', config, str(work_dir / f'{name}.pth'), '--work-dir', str(work_dir), '--out', str(out))
        scores.append([sample['pred_score'].tolist() for sample in pickle.loads(out.read_bytes())])
    assert scores[0] == scores[1] != scores[2]
