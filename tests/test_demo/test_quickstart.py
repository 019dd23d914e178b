"""The quickstart: one run of all stages at tiny size, by the commands that a person's run has."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo import images, quickstart, sample_set
from demo.images import list_labeled, read_data
from demo.quickstart import SCORES, STAGES, Quickstart
from mmbeitv2.apis import read_config
from mmbeitv2.errors import InputError
from tests.conftest import ROOT, refused, run_tool
from tests.forked import start

# 36 of the training images are labeled: a batch of fine-tuning has 32.
TINY = {'train': 180, 'val': 12, 'training': 16, 'validation': 4}
# What makes the configs small: a narrow ViT, few steps.
SMALLER = {
    '192': '24',
    'num_heads=6': 'num_heads=2',
    'begin=20, end=400': 'begin=1, end=3',
    'end=20)': 'end=1)',
    'max_iters=400': 'max_iters=3',
    'interval=400': 'interval=3',
    'interval=10)': 'interval=1)',
    'interval=20)': 'interval=1)',
}


def run_command(command: list[str]) -> None:
    """A command of a stage, in a fork of this process, which has imported what takes eight seconds."""
    sample_set.COUNTS.update(TINY)
    if command[0] == '-m':
        importlib.import_module(command[1]).main(command[2:])
    else:
        run_tool(Path(command[0]).stem, *command[1:])


class Stages:
    """Runs the commands of the stages in forks, and notes which."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.stop_in = ''

    def __call__(self, stage: str, command: list[str], folder: Path, log: Path, begin: float) -> None:
        if self.stop_in == 'any':
            raise KeyboardInterrupt(stage)
        if stage not in self.ran:
            self.ran.append(stage)
        process = start(run_command, command, log=log)
        process.join(600)
        assert process.exitcode == 0, log.read_text()[-3000:]
        if stage == 'finetune' and self.stop_in == 'scoring':
            (log.with_name(stage) / 'epoch_9.pth.0123abcd.tmp').touch()  # as a kill leaves it
            raise KeyboardInterrupt


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    stages = Stages()
    monkeypatch.setattr(quickstart, 'call', stages)
    for name, count in TINY.items():
        monkeypatch.setitem(sample_set.COUNTS, name, count)
    return stages


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The configs at tiny size, which a test may edit."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'root' / 'configs')
    shutil.copytree(ROOT / 'demo' / 'configs', tmp_path / 'root' / 'demo' / 'configs')
    for path in (tmp_path / 'root' / 'demo' / 'configs').rglob('*.py'):
        text = path.read_text()
        for old, new in SMALLER.items():
            text = text.replace(old, new)
        path.write_text(text)
    return tmp_path / 'root'


def test_all_stages_run_continue_after_a_kill_and_run_again_when_something_changed(
    tmp_path: Path, root: Path, stages: Stages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    work = tmp_path / "it's [1,2]"  # which reaches the stages as typed
    (tmp_path / 'disk').mkdir()
    work.symlink_to(tmp_path / 'disk')
    stages.stop_in = 'scoring'  # of the fine-tuning
    with pytest.raises(KeyboardInterrupt):
        Quickstart(root, work).run()
    assert stages.ran == ['sample', 'teacher', 'tokenizer', 'pretrain', 'finetune']

    stages.ran, stages.stop_in = [], ''
    summary = Quickstart(root, work).run()
    assert stages.ran == ['finetune', 'finetune_scratch', 'segment', 'segment_scratch', 'pictures']
    assert not list((work / 'finetune').glob('*.tmp'))
    assert summary == json.loads((work / 'summary.json').read_text())
    assert {*SCORES, 'seed', 'seconds'} == set(summary)
    assert list(summary['seconds']) == list(STAGES)
    assert f'from scratch {summary["top1_scratch"]:.1f} %' in quickstart.table(summary)
    for name in ('index.html', 'codebook.png', 'usage.png', 'masks.png', 'overview.png'):
        assert (work / 'pictures' / name).is_file()
    config = read_config(str(work / 'segment' / 'segment.py'))
    assert config.train_dataloader.dataset.data_root == str(tmp_path / 'disk' / 'sample' / 'ade20k')
    assert config.model.backbone.init_cfg.checkpoint == str(tmp_path / 'disk' / 'pretrain' / 'epoch_6.pth')
    read_config(str(work / 'segment_scratch' / 'segment_scratch.py'))

    def first_to_run() -> str:
        stages.stop_in = 'any'
        with pytest.raises(KeyboardInterrupt) as stopped:
            Quickstart(root, work).run()
        return str(stopped.value)

    def edit(config: str, old: str, new: str) -> None:
        path = root / 'demo' / 'configs' / config
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    stages.ran = []
    Quickstart(root, work).run()
    assert stages.ran == []
    assert '(done before)' in capsys.readouterr().out
    # From the last stage to the first, as a stopped one is to be run before those after it.
    edit('_base_/finetuning.py', 'max_epochs=4', 'max_epochs=5')
    assert first_to_run() == 'finetune'
    edit('quickstart/pretrain.py', 'lr=1e-3', 'lr=5e-3')
    assert first_to_run() == 'pretrain'
    monkeypatch.setattr(quickstart, '__version__', 'other')
    assert first_to_run() == 'sample'


def test_seeds_share_one_pretraining(root: Path, tmp_path: Path) -> None:
    runs = [
        Quickstart(root, tmp_path / f'work/seed_{seed}', seed=seed, shared_dir=tmp_path / 'work') for seed in (3, 4)
    ]
    shared = {name for name in STAGES if runs[0].folder(name) == runs[1].folder(name)}
    assert shared == {'sample', 'teacher', 'tokenizer', 'pretrain'}
    summaries = [dict.fromkeys(SCORES, 1.0) | {'top1_pretrained': top1} for top1 in (40.0, 42.0)]
    assert re.search(r'top1_pretrained +41\.000 ± 1\.414 ', quickstart.seeds_table(summaries))


def test_a_folder_without_splits_has_no_labels_and_one_with_splits_has(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = read_data(image_folder)
    assert (plain.train, plain.classes, plain.num_images) == ('', [], 16)
    for name in ('train', 'val'):
        shutil.copytree(image_folder, image_folder.parent / 'split' / name)
    root = image_folder.parent / 'split'
    with pytest.raises(InputError, match='16 training images, .* at least 16; with class folders 160'):
        read_data(root)
    monkeypatch.setattr(images, 'LEAST_LABELED', 4)
    data = read_data(root)
    assert data.classes == ['cat', 'dog']
    lines = ['cat/nested/0.jpg 0', 'cat/nested/5.jpg 0', 'dog/nested/0.jpg 1', 'dog/nested/5.jpg 1']
    assert list_labeled(data) == [f'{line}\n' for line in lines]
    (root / 'val' / 'dog').rename(root / 'val' / 'wolf')
    with pytest.raises(InputError, match="class folder 'dog' in only one of train and val"):
        read_data(root)


@pytest.mark.parametrize('work_dir', ['.', 'images', 'images/out', 'link', '..'])
def test_a_work_dir_that_holds_or_lies_in_something_of_the_user_is_refused_and_left_as_it_is(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, work_dir: str
) -> None:
    (tmp_path / 'link').symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    message = refused(capsys, 'quickstart', '--work-dir', work_dir, '--data', str(image_folder))
    assert re.search('Choose a new or an empty folder|lies inside the image folder', message)
    assert sorted(tmp_path.rglob('*')) == before


def run_a_long_stage(log: Path) -> None:
    stage = 'import os, time; print(os.getpid(), flush=True); time.sleep(100)'
    quickstart.call('stage', ['-c', stage], log.parent, log, time.monotonic())


def test_ctrl_c_ends_the_stage(tmp_path: Path) -> None:
    log = tmp_path / 'stage.log'
    process = start(run_a_long_stage, log, log=tmp_path / 'log')
    deadline = time.monotonic() + 120
    while not log.exists() or not log.read_text().endswith('\n'):
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 1
    assert not Path(f'/proc/{int(log.read_text())}').exists()


def test_help_needs_no_environment() -> None:
    command = ['bash', str(ROOT / 'tools' / 'quickstart.sh'), '--data', 'a b', '--help']
    environment = {'PATH': '/usr/bin:/bin', 'PYTHON': sys.executable}
    blocked = 'import sys; sys.modules["mmbeitv2"] = None; import runpy; sys.argv[1:] = ["--help"]; '
    blocked += f'runpy.run_path({str(ROOT / "tools" / "quickstart.py")!r}, run_name="__main__")'
    for each in (command, [sys.executable, '-c', blocked]):
        result = subprocess.run(each, capture_output=True, text=True, cwd='/', env=environment)
        assert result.returncode == 0, result.stderr
        for option in ('--data', '--work-dir', '--seeds'):
            assert option in result.stdout
