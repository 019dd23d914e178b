"""The command-line tools as a person runs them, at tiny size, in processes of their own."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path

import cv2
import mmseg
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from mmbeitv2.inference.config import read_config
from tests import forked
from tests.conftest import (
    ROOT,
    classification_config,
    forget_former_runs,
    free_port,
    last_line,
    pretraining_config,
    randomize,
    refused,
    run,
    run_tool,
    train,
)
from tests.test_tools.test_preflight import segmentation_config

LONGER, ENDLESS = 'train_cfg.max_epochs=3', 'train_cfg.max_epochs=10000'


def random_checkpoint(config: str) -> str:
    """A checkpoint, beside the config, of its model with random weights."""
    cfg, path = read_config(config), Path(config).with_suffix('.pth')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        torch.save(dict(state_dict=randomize(MODELS.build(cfg.model)).state_dict()), path)
    forget_former_runs()
    return str(path)


def test_pretraining_trains_and_resumes(tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture) -> None:
    config = pretraining_config(tmp_path, image_folder)
    run_tool('train', config, '--work-dir', str(tmp_path / 'work'))
    output = capsys.readouterr().out
    assert 'length        2 epochs of 4 steps, 8 steps' in output
    for name in ('loss_mim', 'loss_mim_cls', 'acc_mim', 'acc_mim_cls'):
        assert re.search(rf'{name}: \d', output)
    run_tool('train', config, '--work-dir', str(tmp_path / 'work'), '--resume', '--cfg-options', LONGER)
    assert 'resumed epoch: 2' in capsys.readouterr().out
    assert (tmp_path / 'work' / 'epoch_3.pth').is_file()


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


def test_dist_train_runs_two_processes_which_sigterm_ends_and_dist_test_scores_by_two(
    tmp_path: Path, image_folder: Path
) -> None:
    config, work = classification_config(tmp_path, image_folder), tmp_path / 'work'
    process = subprocess.Popen(
        ['bash', 'tools/dist_train.sh', config, '2', '--work-dir', str(work), '--cfg-options', ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {'CUDA_VISIBLE_DEVICES': '', 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'},
    )
    try:
        assert process.stdout is not None
        lines = takewhile(lambda line: 'Saving checkpoint at 2 ' not in line, process.stdout)
        assert '[2][2/2]  lr' in ''.join(lines)
        process.terminate()
        process.communicate(timeout=120)  # until no process has its output open
        assert process.returncode != 0
    finally:
        process.kill()
    assert not list(work.glob('*.tmp'))
    out, checkpoint = tmp_path / 'm.json', str(work / 'epoch_1.pth')
    run('bash', 'tools/dist_test.sh', config, checkpoint, '2', '--work-dir', str(tmp_path), '--out', str(out))
    assert 'accuracy/top1' in json.loads(out.read_text())


def test_of_two_processes_torchrun_shows_the_sentence_of_the_one_that_failed(tmp_path: Path) -> None:
    script = tmp_path / 'script.py'
    script.write_text("""
import os, time
from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2.errors import InputError
with one_sentence_errors('train.py'):
    if os.environ['RANK'] == '1':
        raise InputError("image '3.jpg' cannot be read")
    time.sleep(60)
""")
    launcher = ('-m', 'torch.distributed.run', '--nproc-per-node', '2', '--master-port', str(free_port()))
    output = run(sys.executable, *launcher, str(script), ok=False)
    assert "train.py: error: image '3.jpg' cannot be read" in output.rpartition('Root Cause')[2]


@pytest.mark.parametrize(
    ('arguments', 'ok', 'message'),
    [
        ((), False, 'usage: tools/dist_train.sh CONFIG GPUS'),
        (('a.py', 'x'), False, "must be a whole number, not 'x'"),
        (('a.py', '2', '--ampp'), False, 'unrecognized arguments: --ampp'),
        (('a.py', '2', '--help'), True, 'usage: train.py'),
    ],
)
def test_dist_train_explains_itself_once(arguments: tuple, ok: bool, message: str) -> None:
    assert run('bash', 'tools/dist_train.sh', *arguments, ok=ok).count(message) == 1


def test_a_machine_says_what_it_waits_for_and_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = dict(NNODES='2', NODE_RANK='0', MASTER_ADDR='127.0.0.1', PORT=str(free_port()), RDZV_TIMEOUT='1')
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    output = run('bash', 'tools/dist_train.sh', 'a.py', '1', ok=False)
    assert f'machine 0 of 2 waits for the others at 127.0.0.1:{settings["PORT"]}, at most 1 s' in output


def test_ctrl_c_ends_training_with_one_line(tmp_path: Path, image_folder: Path) -> None:
    config, log = pretraining_config(tmp_path, image_folder), tmp_path / 'log.txt'
    with Path(config).open('a') as stream:  # within a long epoch: between two, libraries swallow the exception
        stream.write("data = dict(type='RepeatDataset', times=1000, dataset=train_dataloader['dataset'])\n")
        stream.write('train_dataloader.update(dataset=data)\n')
    process = forked.start(run_tool, 'train', config, '--work-dir', str(tmp_path / 'work'), log=log)
    try:
        while not log.exists() or '/4000]' not in log.read_text():
            assert process.is_alive()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
        assert process.exitcode == 130
    finally:
        process.kill()
    assert last_line(log.read_text()) == 'train.py: interrupted'
    assert 'Traceback' not in log.read_text()


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
                     "test_evaluator = dict(type='mmbeitv2.MaskedTokenAccuracy', num_codes=16)\n")  # fmt: skip
    run_tool('train', config, '--work-dir', str(tmp_path / 'work'))
    command = [config, str(tmp_path / 'work' / 'epoch_2.pth'), '--work-dir', str(tmp_path / 'test'), '--cfg-options']
    for option, words in (
        ('randomness.seed=1', 'was pretrained with another tokenizer'),  # whose weights are random here
        ('test_evaluator.num_codes=32', 'test_evaluator.num_codes is 32, but the model has 16 codes'),
    ):
        assert words in refused(capsys, 'test', *command, option)
    run_tool('test', *command, 'randomness.seed=0')


def test_weights_are_scored_whatever_wraps_them(tmp_path: Path, image_folder: Path) -> None:
    config = classification_config(tmp_path, image_folder)
    state = torch.load(random_checkpoint(config))['state_dict']
    scores = []
    for name in ('state_dict', 'model'):
        torch.save({name: state}, tmp_path / f'{name}.pth')
        out = tmp_path / f'{name}.pkl'
        run_tool('test', config, str(tmp_path / f'{name}.pth'), '--work-dir', str(tmp_path / 'work'), '--out', str(out))
        scores.append(torch.stack([sample['pred_score'] for sample in pickle.loads(out.read_bytes())]))
    assert torch.equal(*scores)
    assert (scores[0].std(0) > 0.01).all()


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


def test_no_two_files_that_are_written_have_one_name(tmp_path: Path, image_folder: Path) -> None:
    """Images that differ in their endings alone, or whose folders end where their names begin."""
    config = segmentation_config(tmp_path)
    for kind, suffix in (('images', 'jpg'), ('labels', 'png')):
        (tmp_path / f'seg/{kind}/val/a').mkdir()
        (tmp_path / f'seg/{kind}/val/3.{suffix}').rename(tmp_path / f'seg/{kind}/val/a/1.{suffix}')
    cv2.imwrite(str(tmp_path / 'seg/images/val/1.bmp'), cv2.imread(str(tmp_path / 'seg/images/val/1.jpg')))
    (tmp_path / 'seg/classes.txt').write_text('a\nb\nc\n')
    with Path(config).open('a') as stream:
        stream.write(
            'test_pipeline = [pipeline[0], pipeline[1], pipeline[3]]\n'
            f"own = dict(type='mmbeitv2.SegFolder', data_root={str(tmp_path / 'seg')!r}, reduce_zero_label=True,\n"
            "           data_prefix=dict(img_path='images/val', seg_map_path='labels/val'), pipeline=test_pipeline)\n"
            "test_dataloader['dataset'] = dict(type='ConcatDataset', datasets=[own])\n"
        )
    folder, shown = tmp_path / 'maps', tmp_path / 'shown'
    command = ['test', config, random_checkpoint(config), '--work-dir', str(tmp_path / 'work')]
    run_tool(*command, '--out', str(folder), '--show-dir', str(shown))
    if mmseg.__version__ >= '1.3':  # 1.2 gives images of one name one picture
        assert len(list(shown.rglob('*.png'))) == 5
    names = {path.relative_to(folder).as_posix() for path in folder.rglob('*.png')}
    assert names == {'0.png', '1.jpg.png', '1.bmp.png', '2.png', 'a/1.png'}
    # With reduce_zero_label the classes have the numbers of the label images, from 1.
    assert {label for path in folder.rglob('*.png') for label in np.unique(cv2.imread(str(path)))} <= {1, 2, 3}

    for folder_name, name in (('cat_1', '2.jpg'), ('cat', '1_2.jpg')):
        (image_folder / folder_name).mkdir(exist_ok=True)
        shutil.copy(image_folder / 'dog/nested/0.jpg', image_folder / folder_name / name)
    config = classification_config(tmp_path, image_folder)
    Path(config).write_text(Path(config).read_text().replace("'num_classes': 2", "'num_classes': 3"))
    forget_former_runs()
    folder = tmp_path / 'pictures'
    command = ['test', config, random_checkpoint(config), '--work-dir', str(tmp_path / 'work')]
    run_tool(*command, '--show-dir', str(folder))
    assert len(list(folder.glob('*.png'))) == len(list(image_folder.rglob('*.jpg')))


def test_blocks_without_a_gradient_train_where_the_config_says_that_there_are_some(
    tmp_path: Path, image_folder: Path
) -> None:
    """The second block comes after the only one whose output is used."""
    config = classification_config(tmp_path, image_folder)
    options = ('--cfg-options', 'model.backbone.out_indices=0', 'train_cfg.max_epochs=1')
    said = forked.train_by_two(config, tmp_path / 'work', *options, 'find_unused_parameters=True')
    assert '2 process(es)' in said
    state = torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=False)
    assert len(state['optimizer']['state']) < len(state['state_dict'])  # nothing is kept of what has no gradient


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
