"""Clumsy and hostile input, tool by tool: one sentence that names what is wrong, exit code 1, and nothing lost.

Each row is a command of a person who mistyped, mixed up or broke something. The tools are driven in this process, as
each `import torch` in a process of its own takes seconds.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from tests.conftest import ROOT, classification_config, pretraining_config, run_tool, tiny_tokenizer

SENTENCE = re.compile(r'^[a-z_]+\.(py|sh): error: (\S.*)$')


class World:
    """Images, models and checkpoints that commands are given.

    Attributes:
        root: folder of everything.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.images = root, root / 'images/train'
        rng = np.random.default_rng(0)
        for path in (f'{split}/{name}/{i}.jpg' for split in ('train', 'val') for name in 'ab' for i in range(6)):
            image, spoilt = root / 'images' / path, root / 'spoilt' / path
            for folder in (image.parent, spoilt.parent):
                folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(image), rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
            spoilt.write_bytes(image.read_bytes()[:900])
        self.codes = str(root / 'tokenizer.pth')
        torch.save({'state_dict': MODELS.build(tiny_tokenizer()).state_dict()}, self.codes)
        self.pretraining = str(Path(pretraining_config(root, self.images)).rename(root / 'pretraining.py'))
        self.classification = str(Path(classification_config(root, self.images)).rename(root / 'classification.py'))

    @functools.cached_property
    def trained(self) -> Path:
        """A work dir after one epoch of pretraining."""
        options = ('--work-dir', str(self.root / 'trained'), '--cfg-options', 'train_cfg.max_epochs=1')
        run_tool('train', self.pretraining, *options)
        time.sleep(1)  # mmengine names a run by its second, and would take another in this process for the same
        return self.root / 'trained'


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp('world'))


@pytest.fixture(autouse=True)
def _as_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The current folder is an empty one of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('LOCAL_RANK', '0')


def poison(path: Path) -> None:
    """Makes one weight NaN."""
    content = torch.load(path, weights_only=False)
    next(iter(content['state_dict'].values())).view(-1)[:1].fill_(torch.nan)
    torch.save(content, path)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def booby_trap(path: Path) -> str:
    """A checkpoint that runs code where it is unpickled with full powers."""
    torch.save({'state_dict': {'weight': torch.zeros(1)}, 'meta': Trap(path.with_name('code was run'))}, path)
    return str(path)


Arguments = Callable[[World], list]
DATA = 'train_dataloader.dataset'


def train(option: str) -> Arguments:
    """Arguments of train.py with a setting, which may name the folder of everything."""
    return lambda w: [w.pretraining, '--work-dir', w.root / 'refused', '--cfg-options', option.format(root=w.root)]


def resume(change: Callable[[Path], object] = lambda checkpoint: None) -> Arguments:
    """Arguments of train.py that go on with the trained model, in a copy of its work dir."""

    def arguments(w: World) -> list:
        work = w.root / 'resumed'
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(w.trained, work)
        change(work / 'epoch_1.pth')
        return [w.pretraining, '--work-dir', work, '--resume', '--cfg-options', 'train_cfg.max_epochs=2']

    return arguments


def pointed(checkpoint: Path) -> None:
    """``last_checkpoint`` names a file elsewhere, which runs code."""
    evil = booby_trap(checkpoint.parents[1] / 'evil.pth')
    (checkpoint.parent / 'last_checkpoint').write_text(evil)


# What is wrong; the tool; its arguments; what the sentence names.
ROWS: list[tuple[str, str, Arguments, str]] = [
    ('misspelled key', 'train', train('optim_wraper.optimizer.lr=1'), 'optim_wrapper'),
    ('no images', 'train', train(f'{DATA}.data_root=/nope'), '/nope'),
    ('batch larger than the data', 'train', train('train_dataloader.batch_size=64'), 'batch_size'),
    ('images cut off', 'train', train(f'{DATA}.data_root={{root}}/spoilt'), r'\.jpg'),
    ('no launcher', 'train', lambda w: [w.pretraining, '--launcher', 'pytorch'], 'environment variable RANK'),
    ('GPU only', 'train', lambda w: [w.pretraining, '--amp'], '--amp needs a GPU'),
    ('load_from not there', 'train', train('load_from=gone.pth'), r'gone\.pth'),
    ('other stage', 'train', lambda w: [w.classification, *resume()(w)[1:]], 'checkpoint|stage|lacks'),
    ('NaN', 'train', resume(change=poison), 'NaN|finite'),
    ('code in the file', 'train', resume(change=booby_trap), r'epoch_1\.pth'),
    ('code in a file that last_checkpoint names', 'train', resume(change=pointed), r'evil\.pth'),
    ('scored with another model', 'test', lambda w: [w.classification, w.codes], 'tokenizer'),
    ('out below a file', 'test', lambda w: [w.classification, w.codes, '--out', ROOT / 'setup.py/a.json'], 'setup'),
    ('config without a test', 'test', lambda w: [w.pretraining, w.trained / 'epoch_1.pth'], 'test'),
]


def fingerprint(folder: Path) -> dict[str, str]:
    """Content of all files of a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and os.access(path, os.R_OK)
    }


@pytest.mark.parametrize('row', ROWS, ids=lambda row: f'{row[1]}: {row[0]}')
def test_bad_input_is_refused_in_one_sentence_and_nothing_is_lost(
    world: World, row: tuple[str, str, Arguments, str], capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, name, arguments, names = row
    command = [str(argument) for argument in arguments(world)]
    before = fingerprint(world.root)
    capfd.readouterr()
    monkeypatch.setattr(sys, 'argv', [f'{name}.py'])  # from which argparse takes the name of the program
    with pytest.raises(SystemExit) as end:
        run_tool(name, *command)
    assert end.value.code == 1
    said = capfd.readouterr().err
    assert 'Traceback' not in said
    found = SENTENCE.match(said.strip().splitlines()[-1])
    assert found, said[-3000:]
    assert re.search(names, found[2]), found[2]
    after = fingerprint(world.root)
    assert not set(before) - set(after), 'files were lost'
    own = ('refused/', 'resumed/')  # work dirs, where logs and the config are written
    changed = [path for path in before if before[path] != after[path]]
    assert not [path for path in changed if not path.startswith(own) or path.endswith('.pth')]
    assert not [path for path in after if path.endswith(('.tmp', '.partial'))]
    assert not list(world.root.rglob('code was run'))
