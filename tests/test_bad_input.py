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
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import MODELS, DefaultScope
from mmengine.visualization import Visualizer

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
        for split in ('train', 'val'):
            for name in ('cat', 'dog'):
                (root / 'images' / split / name).mkdir(parents=True)
                for i in range(6):
                    pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                    cv2.imwrite(str(root / 'images' / split / name / f'{i}.jpg'), pixels)
        self.tokenizer = self.file('tokenizer.py', f'model = {tiny_tokenizer()!r}\n')
        self.codes = str(root / 'tokenizer.pth')
        torch.save({'state_dict': MODELS.build(tiny_tokenizer()).state_dict()}, self.codes)
        self.pretraining = str(Path(pretraining_config(root, self.images)).rename(root / 'pretraining.py'))
        self.classification = str(Path(classification_config(root, self.images)).rename(root / 'classification.py'))

    def file(self, name: str, content: bytes | str) -> str:
        """A file with this content."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def folder(self, name: str) -> Path:
        (self.root / name).mkdir(parents=True, exist_ok=True)
        return self.root / name

    def spoilt(self, change: Callable[[Path], object]) -> Path:
        """A copy of the training images, each changed."""
        shutil.rmtree(self.root / 'spoilt', ignore_errors=True)
        shutil.copytree(self.images, self.root / 'spoilt')
        for path in (self.root / 'spoilt').rglob('*.jpg'):
            change(path)
        return self.root / 'spoilt'

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
    """The current folder is an empty one of the test's own; mmengine has forgotten former runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('LOCAL_RANK', '0')
    for kind in (MMLogger, MessageHub, Visualizer, DefaultScope):
        kind._instance_dict.clear()


def cut(path: Path) -> None:
    """Leaves half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def huge(path: Path) -> None:
    """A PNG of some hundred bytes whose header promises 30000x30000 pixels."""
    header = struct.pack('>IIBBBBB', 30000, 30000, 8, 2, 0, 0, 0)
    parts = [
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        for kind, data in ((b'IHDR', header), (b'IDAT', zlib.compress(bytes(1000))), (b'IEND', b''))
    ]
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(parts))


def strip(path: Path) -> None:
    """Leaves nothing but the weights."""
    torch.save({'state_dict': torch.load(path, weights_only=False)['state_dict']}, path)


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


def train(*options: str | Callable[[World], str]) -> Arguments:
    """Arguments of train.py with these settings."""

    def arguments(w: World) -> list:
        settings = [option if isinstance(option, str) else option(w) for option in options]
        return [w.pretraining, '--work-dir', w.root / 'refused', '--cfg-options', *settings]

    return arguments


def listed(text: str | bytes) -> Arguments:
    """Arguments of train.py for a classification with this list of images."""

    def arguments(w: World) -> list:
        option = f'{DATA}.ann_file={w.file("list.txt", text)}'
        return [w.classification, '--work-dir', w.root / 'refused', '--cfg-options', option]

    return arguments


def resume(*options: str, change: Callable[[Path], object] = lambda checkpoint: None) -> Arguments:
    """Arguments of train.py that go on with the trained model, in a copy of its work dir."""

    def arguments(w: World) -> list:
        work = w.root / 'resumed'
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(w.trained, work)
        change(work / 'epoch_1.pth')
        settings = ['--cfg-options', 'train_cfg.max_epochs=2', *options]
        return [w.pretraining, '--work-dir', work, '--resume', *settings]

    return arguments


def tokenize(*options: str, images: Callable[[World], object] = lambda w: w.images) -> Arguments:
    """Arguments of tokenize_images.py."""
    fixed = ['--num-workers', '0']
    return lambda w: [
        images(w), '--out', w.root / 'codes.npz', '--config', w.tokenizer, '--checkpoint', w.codes, *fixed, *options
    ]  # fmt: skip


def pointed(checkpoint: Path) -> None:
    """``last_checkpoint`` names a file elsewhere, which runs code."""
    evil = booby_trap(checkpoint.parents[1] / 'evil.pth')
    (checkpoint.parent / 'last_checkpoint').write_text(evil)


def backbone_of(w: World) -> str:
    return f'model.backbone.init_cfg.checkpoint={booby_trap(w.root / "evil.pth")}'


def probe(bank: str, query: str) -> Arguments:
    """Arguments of probe_features.py."""
    return lambda w: [
        w.pretraining, w.trained / 'epoch_1.pth', '--bank', w.root / bank, '--query', w.root / query
    ]  # fmt: skip


# What is wrong; the tool; its arguments; what the sentence names.
ROWS: list[tuple[str, str, Arguments, str]] = [
    ('no config', 'train', lambda w: ['nope.py'], r"'nope\.py' not found"),
    ('config without a model', 'train', lambda w: [w.file('bare.py', 'a = 1\n')], r'bare\.py.* model'),
    ('option without a value', 'train', train('foo'), r"'foo'"),
    ('misspelled key', 'train', train('optim_wraper.optimizer.lr=1'), 'optim_wrapper'),
    ('no images', 'train', train(f'{DATA}.data_root=/nope'), '/nope'),
    ('empty folder', 'train', train(lambda w: f'{DATA}.data_root={w.folder("empty")}'), 'empty.*no image'),
    ('batch larger than the data', 'train', train('train_dataloader.batch_size=64'), 'batch_size'),
    ('images cut off', 'train', train(lambda w: f'{DATA}.data_root={w.spoilt(cut)}'), r'\.jpg'),
    ('images of too many pixels', 'train', train(lambda w: f'{DATA}.data_root={w.spoilt(huge)}'), 'pixels'),
    ('GPU only', 'train', lambda w: [w.pretraining, '--amp'], '--amp needs a GPU'),
    ('work dir below a file', 'train', lambda w: [w.pretraining, '--work-dir', f'{w.file("note", "x")}/work'], 'note'),
    ('load_from not there', 'train', train('load_from=gone.pth'), r'gone\.pth'),
    (
        'tokenizer not there',
        'train',
        train('model.tokenizer.init_cfg.type=mmbeitv2.PretrainedBEiTv2', 'model.tokenizer.init_cfg.checkpoint=no.pth'),
        r'no\.pth',
    ),
    ('list without labels', 'train', listed('cat/0.jpg\n'), r'line 1 of .*list\.txt'),
    ('list with a word', 'train', listed('cat/0.jpg 0\ndog/0.jpg dog\n'), r'line 2 of .*list\.txt'),
    ('list binary', 'train', listed(b'\xff\xfe\x00\x81' * 40), r'list\.txt'),
    ('list with a label too large', 'train', listed('cat/0.jpg 0\ndog/0.jpg 99\n' * 4), r'99'),
    ('list with a missing image', 'train', listed('cat/0.jpg 0\ndog/gone.jpg 1\ncat/1.jpg 0\ncat/2.jpg 0\n'), 'gone'),
    ('resume from nothing', 'train', lambda w: [w.pretraining, '--resume', 'gone.pth'], r'gone\.pth'),
    ('other heads', 'train', resume('model.backbone.arch.num_heads=8'), 'rel_pos_bias|num_heads|shape'),
    ('other stage', 'train', lambda w: [w.classification, *resume()(w)[1:]], 'checkpoint|stage|lacks'),
    ('last checkpoint cut off', 'train', resume(change=cut), r'epoch_1\.pth'),
    ('weights only', 'train', resume(change=strip), r'epoch_1\.pth.*(optimizer|weights)'),
    ('NaN', 'train', resume(change=poison), 'NaN|finite'),
    ('code in the file', 'train', resume(change=booby_trap), r'epoch_1\.pth'),
    ('code in a file that last_checkpoint names', 'train', resume(change=pointed), r'evil\.pth'),
    ('code in weights', 'train', train('model.backbone.init_cfg.type=Pretrained', backbone_of), r'evil\.pth'),
    ('folder missing', 'tokenize_images', tokenize(images=lambda w: '/nope'), '/nope'),
    ('folder empty', 'tokenize_images', tokenize(images=lambda w: w.folder('empty')), 'no image'),
    ('checkpoint missing', 'tokenize_images', tokenize('--checkpoint', 'gone.pth'), r'gone\.pth'),
    ('out is a folder', 'tokenize_images', lambda w: [*tokenize()(w), '--out', w.folder('d.npz')], r'd\.npz'),
    ('target is the source', 'convert_checkpoint', lambda w: [w.codes, w.codes, '--to', 'official'], 'tokenizer'),
    ('source missing', 'convert_checkpoint', lambda w: ['gone.pth', 'out.pth', '--to', 'timm'], r'gone\.pth'),
    ('scored without a checkpoint', 'test', lambda w: [w.classification, 'gone.pth'], r'gone\.pth'),
    ('scored with another model', 'test', lambda w: [w.classification, w.codes], 'tokenizer'),
    ('out below a file', 'test', lambda w: [w.classification, w.codes, '--out', ROOT / 'setup.py/a.json'], 'setup'),
    ('config without a test', 'test', lambda w: [w.pretraining, w.trained / 'epoch_1.pth'], 'test'),
    ('flat folder', 'probe_features', probe('images/train/cat', 'images/val/cat'), 'class'),
    ('bank missing', 'probe_features', probe('gone', 'images/val'), 'gone'),
    ('fresh here', 'quickstart', lambda w: ['--fresh', '--work-dir', ''], 'current folder'),
    (
        'fresh in a folder of the user',
        'quickstart',
        lambda w: ['--fresh', '--work-dir', Path(w.file('home/notes.txt', 'a diary')).parent],
        r'notes\.txt',
    ),
    ('data in the work dir', 'quickstart', lambda w: ['--fresh', '--work-dir', w.root, '--data', w.images], 'images'),
    ('work dir of the clone', 'quickstart', lambda w: ['--fresh', '--work-dir', ROOT], 'package'),
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
    assert not (world.root / 'code was run').exists()
