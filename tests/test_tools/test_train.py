"""The command-line tools as a person runs them, at tiny size, in processes of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests import forked
from tests.conftest import (
    ROOT,
    classification_config,
    free_port,
    last_line,
    pretraining_config,
    run,
    tiny_pretraining,
    train,
)


def load_tool(name: str) -> ModuleType:
    """A script of ``tools/``, to call its ``main`` in this process."""
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


train_tool, test_tool = load_tool('train'), load_tool('test')


def test_pretraining_trains_and_resumes(tmp_path: Path, image_folder: Path) -> None:
    config = pretraining_config(tmp_path, image_folder)
    output = train(config, tmp_path / 'work')
    for name in ('loss_mim', 'loss_mim_cls', 'acc_mim', 'acc_mim_cls'):
        assert re.search(rf'{name}: \d', output)
    resumed = forked.train(config, tmp_path / 'work', '--resume', '--cfg-options', 'train_cfg.max_epochs=3')
    assert 'resumed epoch: 2' in resumed
    assert (tmp_path / 'work' / 'epoch_3.pth').is_file()


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_mixed_precision_trains_and_resumes(tmp_path: Path, image_folder: Path, dtype: str) -> None:
    config = pretraining_config(tmp_path, image_folder)
    assert re.search(r'loss_mim: \d', train(config, tmp_path / 'work', '--amp', dtype, gpus='0'))
    options = ('--amp', dtype, '--resume', '--cfg-options', 'train_cfg.max_epochs=3')
    assert 'resumed epoch: 2' in train(config, tmp_path / 'work', *options, gpus='0')


def test_classification_trains_and_its_checkpoint_is_scored(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    config = classification_config(tmp_path, image_folder)
    train_tool.main([config, '--work-dir', str(tmp_path / 'work')])
    checkpoint = str(tmp_path / 'work' / 'epoch_2.pth')
    options = ('--work-dir', str(tmp_path / 'test'), '--out', str(tmp_path / 'metrics.json'))
    test_tool.main([config, checkpoint, *options])
    assert 0 <= json.loads((tmp_path / 'metrics.json').read_text())['accuracy/top1'] <= 100
    tests = (config, checkpoint, '--work-dir', str(tmp_path / 'test'))
    test_tool.main([*tests, '--out', str(tmp_path / 'predictions.pkl'), '--tta'])
    test_tool.main([*tests, '--show-dir', str(tmp_path / 'shown')])
    with (tmp_path / 'predictions.pkl').open('rb') as stream:
        assert len(pickle.load(stream)) == 16
    assert len(list((tmp_path / 'shown').iterdir())) == 8  # the names of the images; both classes have the same
    for arguments, sentence in (
        (('--out', str(tmp_path)), 'is a folder, but only segmentation writes label maps to a folder'),
        (('--out', f'{config}/metrics.json'), 'which is not a folder. Choose another path'),
        (('--out', 'metrics.txt'), r'must end in .json \(for metrics\) or .pkl \(for predictions\)'),
        (('--out-item', 'metrics'), 'has no effect without --out'),
        (('--tta', '--show'), 'Leave one of them out'),
    ):
        with pytest.raises(SystemExit):
            test_tool.main([*tests, *arguments])
        assert re.fullmatch(f'test.py: error: .*{sentence}.*\n', capsys.readouterr().err)
    wider = classification_config(tmp_path, image_folder, width=64)
    with pytest.raises(SystemExit):
        test_tool.main([wider, checkpoint, *options])
    assert re.search(
        r'does not fit: \S+ has shape \(.*32.*\) in the file and \(.*64.*\) in the model', capsys.readouterr().err
    )


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


def test_bad_input_gets_one_sentence_and_no_traceback(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
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
        ((good, '--cfg-options', f'{root}={image_folder / "empty"}'), 'holds no images'),
        ((good, '--cfg-options', f'{root}={broken}'), r"broken/\d.jpg' cannot be read"),
        (
            (good, '--cfg-options', f'{root}={broken}', 'train_dataloader.num_workers=1'),
            r"broken/\d.jpg' cannot be read",
        ),
        ((good, '--cfg-options', 'load_from=none.pth'), "checkpoint 'none.pth' not found"),
        ((good, '--amp'), '--amp needs a GPU'),
    ]
    for arguments, message in cases:
        with pytest.raises(SystemExit) as ended:
            train_tool.main([arguments[0], '--work-dir', str(tmp_path / 'work'), *arguments[1:]])
        assert ended.value.code == 1
        shown = capsys.readouterr().err
        assert re.fullmatch(f'train.py: error: .*{message}.*\n', shown), shown


def test_a_missing_tokenizer_checkpoint_is_named(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    tokenizer = tiny_pretraining()['tokenizer'] | dict(
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='none.pth')
    )
    config = pretraining_config(tmp_path, image_folder, tokenizer=tokenizer)
    with pytest.raises(SystemExit):
        train_tool.main([config, '--work-dir', str(tmp_path / 'work')])
    assert "checkpoint 'none.pth' not found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'), [((), 'usage: tools/dist_train.sh CONFIG GPUS'), (('a.py', 'x'), "whole number, not 'x'")]
)
def test_dist_train_explains_itself(arguments: tuple, message: str) -> None:
    assert message in run('bash', 'tools/dist_train.sh', *arguments, ok=False)


def test_of_two_processes_the_first_sentence_stands_last_and_alone(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = classification_config(tmp_path, image_folder)
    command = ('bash', 'tools/dist_train.sh', config, '2', '--work-dir', str(tmp_path / 'work'))
    (image_folder / 'cat' / 'nested' / '3.jpg').write_bytes(b'\xff\xd8\xff')  # read by one of the two
    output = run(*command, ok=False)
    assert re.match(r"train.py: error: .*3.jpg'", last_line(output))
    assert output.count('train.py: error') == 1
    assert 'Traceback' not in output
    with socket.socket() as listener:
        listener.bind(('', 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        monkeypatch.setenv('PORT', port)
        output = run(*command, ok=False)
    assert output.startswith(f'train.py: error: port {port} cannot be used (Address already in use). Set the env')
    assert output.count('\n') == 1


def stopped(script: str, *arguments: str, by: int) -> tuple[str, int]:
    """What a training that a signal stops after its second checkpoint still writes, and its exit code."""
    process = subprocess.Popen(
        [sys.executable, script, *arguments, '--cfg-options', 'train_cfg.max_epochs=10000'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {'CUDA_VISIBLE_DEVICES': ''},
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if 'Saving checkpoint at 2 ' in line:
                break
        process.send_signal(by)
        return process.stdout.read(), process.wait(timeout=600)  # read: until no process has it open
    finally:
        process.kill()


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_no_process_outlives_the_launcher(tmp_path: Path, image_folder: Path, number: int, code: int) -> None:
    config = classification_config(tmp_path, image_folder)
    arguments = ('train.py', '2', config, '--work-dir', str(tmp_path / 'work'))
    output, ended_with = stopped('tools/launch.py', *arguments, by=number)
    assert ended_with == code
    assert 'Traceback' not in output
    if number == signal.SIGTERM:
        assert last_line(output) == 'train.py: ended by SIGTERM'
    assert not list((tmp_path / 'work').glob('*.tmp'))


def test_ctrl_c_ends_training_with_one_line(tmp_path: Path, image_folder: Path) -> None:
    config = pretraining_config(tmp_path, image_folder)
    with_workers = Path(config).read_text().replace('num_workers=0', 'num_workers=2')
    Path(config).write_text(with_workers)
    output, ended_with = stopped('tools/train.py', config, '--work-dir', str(tmp_path / 'work'), by=signal.SIGINT)
    assert ended_with == 130
    assert last_line(output) == 'train.py: interrupted'
    assert 'Traceback' not in output
    assert (tmp_path / 'work' / 'epoch_1.pth').is_file()


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_a_launcher_that_did_not_start_the_process_is_named(
    tmp_path: Path, image_folder: Path, launcher: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('RANK', raising=False)
    config = classification_config(tmp_path, image_folder)
    with pytest.raises(SystemExit):
        train_tool.main([config, '--work-dir', str(tmp_path / 'work'), '--launcher', launcher])
    assert re.match(
        rf'train.py: error: --launcher {launcher} needs the environment variable \w+', capsys.readouterr().err
    )


def test_help_is_answered_before_torch_is_imported() -> None:
    for tool in ('train', 'test', 'launch'):
        code = f'import sys; sys.path.insert(0, "tools"); import {tool}; sys.exit("torch" in sys.modules)'
        run(sys.executable, '-c', code)


def test_the_screen_shows_what_runs_and_the_log_file_has_the_rest(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    config = classification_config(tmp_path, image_folder)
    train_tool.main([config, '--work-dir', str(tmp_path / 'work'), '--cfg-options', 'train_cfg.max_epochs=1'])
    shown = capsys.readouterr()
    lines = [line.partition(' - INFO - ')[2] for line in shown.out.splitlines()]
    assert shown.err == ''
    assert lines[0] == f'Config: {config}'
    assert lines[1] == f'Work dir: {tmp_path / "work"}'
    assert lines[3:6] == [
        'Data: 16 images of 2 classes',
        'Run: 4 steps of 4 images (1 epoch)',
        'Device: cpu, 1 process',
    ]
    assert len(lines) == 6 + 4 + 1  # steps, checkpoint
    (log,) = (tmp_path / 'work').glob('*/*.log')
    text = log.read_text()
    for heading in ('System environment', 'Hooks will be executed', 'default_hooks = dict', *lines):
        assert heading in text


def test_slurm_trains_on_cpu(tmp_path: Path, image_folder: Path) -> None:
    config = classification_config(tmp_path, image_folder)
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\n[ "$3" = "node[1-2]" ] && echo localhost && echo node2\n')
    scontrol.chmod(0o755)
    slurm = {'SLURM_NTASKS': '1', 'SLURM_PROCID': '0', 'SLURM_LOCALID': '0', 'SLURM_NODELIST': 'node[1-2]'}
    environment = slurm | {'MASTER_PORT': str(free_port()), 'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
    forked.train(config, tmp_path / 'work', '--launcher', 'slurm', **environment)
    assert (tmp_path / 'work' / 'epoch_2.pth').is_file()


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
