"""Clumsy and hostile input, tool by tool: one sentence that names what is wrong, exit code 1, and nothing lost.

Each row is a command of a person who mistyped, mixed up or broke something. The tools are driven in this process, as
each `import torch` in a process of its own takes seconds.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
import os
import re
import shutil
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import MODELS, DefaultScope
from mmengine.visualization import Visualizer

from tests.conftest import ROOT, classification_config, pretraining_config, tiny_tokenizer, tiny_vit

SENTENCE = re.compile(r'^(?P<program>[a-z_]+\.(py|sh)): error: (?P<sentence>\S.*)$')


@functools.cache
def tool(name: str) -> ModuleType:
    """A command-line tool as a module."""
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@dataclass
class Ending:
    """How a command ended."""

    code: int
    output: str

    @property
    def last_line(self) -> str:
        lines = self.output.strip().splitlines()
        return lines[-1] if lines else ''


class World:
    """Images, models and checkpoints that commands are given, and the commands themselves.

    Attributes:
        root: folder of everything.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        rng = np.random.default_rng(0)
        for split in ('train', 'val'):
            for name in ('cat', 'dog'):
                folder = root / 'images' / split / name
                folder.mkdir(parents=True)
                for i in range(6):
                    cv2.imwrite(str(folder / f'{i}.jpg'), rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
        for split in ('training', 'validation'):
            for kind in ('images', 'annotations'):
                (root / 'ade' / kind / split).mkdir(parents=True)
            for i in range(4):
                cv2.imwrite(
                    str(root / f'ade/images/{split}/{i}.jpg'), rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
                )
                cv2.imwrite(
                    str(root / f'ade/annotations/{split}/{i}.png'), rng.integers(0, 4, (40, 40), dtype=np.uint8)
                )
        self.tokenizer = self._written('tokenizer.py', f'model = {tiny_tokenizer()!r}\n')
        self.codes = self._saved('tokenizer.pth', MODELS.build(tiny_tokenizer()))
        self.pretraining = self._moved(pretraining_config(root, root / 'images/train'), 'pretraining.py')
        self.classification = self._moved(classification_config(root, root / 'images/train'), 'classification.py')
        self.segmentation = self._written('segmentation.py', segmentation_config(root / 'ade'))
        self.work = root / 'work'

    def _written(self, name: str, text: str) -> str:
        (self.root / name).write_text(text)
        return str(self.root / name)

    def _moved(self, path: str, name: str) -> str:
        return str(Path(path).rename(self.root / name))

    def _saved(self, name: str, model: torch.nn.Module) -> str:
        torch.save({'state_dict': model.state_dict()}, self.root / name)
        return str(self.root / name)

    def file(self, name: str, content: bytes | str) -> str:
        """A file with this content."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def folder(self, name: str, source: str = 'images/train') -> Path:
        """A copy of a folder of images, to be spoilt."""
        path = self.root / name
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.root / source, path)
        return path

    def checkpoint(self, name: str, change: Callable[[dict], object]) -> str:
        """The tokenizer's checkpoint with its weights changed."""
        content = torch.load(self.codes)
        change(content['state_dict'])
        torch.save(content, self.root / name)
        return str(self.root / name)

    @functools.cached_property
    def trained(self) -> Path:
        """A work dir after one epoch of pretraining."""
        work = self.root / 'trained'
        ending = drive('train', self.pretraining, '--work-dir', str(work), '--cfg-options', 'train_cfg.max_epochs=1')
        assert ending.code == 0, ending.output
        return work

    @functools.cached_property
    def segmenter(self) -> str:
        """A checkpoint of the segmentation model."""
        cfg = Config.fromfile(self.segmentation)
        with DefaultScope.overwrite_default_scope('mmseg'):
            return self._saved('segmenter.pth', MODELS.build(cfg.model))

    def resumed(self, name: str) -> Path:
        """A copy of that work dir."""
        shutil.rmtree(self.root / name, ignore_errors=True)
        shutil.copytree(self.trained, self.root / name)
        return self.root / name


def segmentation_config(root: Path) -> str:
    norm = dict(type='BN')
    head = dict(in_channels=32, channels=8, num_classes=3, norm_cfg=norm, align_corners=False)
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, size=(32, 32)),
        backbone=tiny_vit(out_indices=(1,), out_type='featmap', final_norm='none', rel_pos_bias='per_layer'),
        decode_head=dict(type='FCNHead', num_convs=1, **head),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )
    load = [dict(type='mmbeitv2.LoadImage'), dict(type='mmbeitv2.LoadSegLabels', num_classes=3)]
    train = [*load, dict(type='RandomCrop', crop_size=(32, 32)), dict(type='PackSegInputs')]
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        metainfo=dict(classes=('a', 'b', 'c'), palette=[[0, 0, 0], [99, 0, 0], [0, 99, 0]]),
        img_suffix='.jpg',
        seg_map_suffix='.png',
        reduce_zero_label=True,
    )

    def loader(split: str, pipeline: list, sampler: dict) -> dict:
        prefix = dict(img_path=f'images/{split}', seg_map_path=f'annotations/{split}')
        data = dict(dataset, data_prefix=prefix, pipeline=pipeline)
        return dict(batch_size=2, num_workers=0, sampler=sampler, dataset=data)

    train_loader = loader('training', train, dict(type='InfiniteSampler', shuffle=True))
    test_loader = loader('validation', [*load, dict(type='PackSegInputs')], dict(type='DefaultSampler', shuffle=False))
    return f"""
default_scope = 'mmseg'
model = {model!r}
train_dataloader = {train_loader!r}
test_dataloader = {test_loader!r}
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
"""


CAPTURE: list[pytest.CaptureFixture[str]] = []


def drive(name: str, *arguments: str | Path) -> Ending:
    """Runs a tool in this process, as from the command line."""
    for kind in (MMLogger, MessageHub, Visualizer, DefaultScope):
        kind._instance_dict.clear()
    CAPTURE[0].readouterr()
    argv = sys.argv
    sys.argv = [f'{name}.py']  # from which argparse takes the name of the program
    try:
        tool(name).main([str(argument) for argument in arguments])
        code: object = 0
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = argv
        logging.captureWarnings(False)
    captured = CAPTURE[0].readouterr()
    return Ending(0 if code is None else code if isinstance(code, int) else 1, captured.out + captured.err)


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp('world'))


@pytest.fixture(autouse=True)
def _as_a_command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Output is caught; the current folder is an empty one of the test's own; the environment is left as it was."""
    CAPTURE[:] = [capfd]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('LOCAL_RANK', '0')
    with warnings.catch_warnings():
        yield


def fingerprint(folder: Path) -> dict[str, str]:
    """Content of all files of a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and os.access(path, os.R_OK)
    }


def refused(ending: Ending, names: str) -> None:
    """The command ended with one sentence, which names what is wrong; argparse's have the exit code 2."""
    assert ending.code in (1, 2), ending.output[-3000:]
    assert 'Traceback (most recent call last)' not in ending.output, ending.output[-3000:]
    found = SENTENCE.match(ending.last_line)
    assert found, ending.output[-3000:]
    assert re.search(names, found['sentence']), found['sentence']
    assert 'weights_only' not in found['sentence']
    assert len(found['sentence']) < 900, found['sentence']


Row = tuple[str, str, Callable[[World], list], str]


def train(*options: str, config: str = 'pretraining', work: str = 'refused') -> Callable[[World], list]:
    """Arguments of train.py."""
    return lambda w: [
        getattr(w, config),
        '--work-dir',
        w.root / work,
        *(['--cfg-options', *options] if options else []),
    ]


def tokenize(
    *options: str,
    images: Callable[[World], object] = lambda w: w.root / 'images/train',
    checkpoint: Callable[[World], str] | None = None,
) -> Callable[[World], list]:
    """Arguments of tokenize_images.py."""
    return lambda w: [
        images(w),
        '--out',
        w.root / 'codes.npz',
        '--config',
        w.tokenizer,
        '--checkpoint',
        checkpoint(w) if checkpoint else w.codes,
        '--num-workers',
        '0',
        *options,
    ]


def empty(world: World) -> Path:
    (world.root / 'empty').mkdir(exist_ok=True)
    return world.root / 'empty'


def spoilt(world: World, name: str, change: Callable[[Path], object]) -> Path:
    """A copy of the images, changed."""
    folder = world.folder(name)
    change(folder)
    return folder


def listed(text: str | bytes) -> Callable[[World], list]:
    """Arguments of train.py for a classification with this list of images."""
    return lambda w: [
        w.classification,
        '--work-dir',
        w.root / 'refused',
        '--cfg-options',
        f'train_dataloader.dataset.ann_file={w.file("list.txt", text)}',
    ]


def labeled(change: Callable[[Path], object], *options: str) -> Callable[[World], list]:
    """Arguments of train.py for a segmentation whose data is changed."""

    def arguments(world: World) -> list:
        folder = world.folder('ade_spoilt', 'ade')
        change(folder)
        return [
            world.segmentation,
            '--work-dir',
            world.root / 'refused',
            '--cfg-options',
            f'train_dataloader.dataset.data_root={folder}',
            *options,
        ]

    return arguments


def cut(path: Path) -> None:
    """Leaves half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def huge(path: Path) -> None:
    """A PNG of some hundred bytes whose header promises 30000x30000 pixels."""
    header = struct.pack('>IIBBBBB', 30000, 30000, 8, 2, 0, 0, 0)
    chunks = [(b'IHDR', header), (b'IDAT', zlib.compress(bytes(1000))), (b'IEND', b'')]
    parts = [
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data)) for kind, data in chunks
    ]
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(parts))


def edit(path: Path, change: Callable[[dict], object]) -> None:
    """Changes the content of a checkpoint."""
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)


def strip(path: Path) -> None:
    """Leaves nothing but the weights."""
    edit(path, lambda content: [content.pop(key) for key in list(content) if key != 'state_dict'])


def poison(path: Path) -> None:
    """Makes one weight NaN."""
    edit(path, lambda content: next(iter(content['state_dict'].values())).view(-1)[:1].fill_(torch.nan))


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


def resume(world: World, *options: str, change: Callable[[Path], object] = lambda work: None) -> list:
    """Arguments of train.py that go on with the trained model."""
    work = world.resumed('resumed')
    change(work)
    return [
        world.pretraining, '--work-dir', work, '--resume', '--cfg-options', 'train_cfg.max_epochs=2', *options
    ]  # fmt: skip


def write_png(path: Path, shape: tuple[int, ...], value: int = 1) -> None:
    cv2.imwrite(str(path), np.full(shape, value, dtype=np.uint8))


LABEL = 'annotations/training/1.png'

TRAIN: list[Row] = [
    ('no config', 'train', lambda w: ['nope.py'], r"'nope\.py' not found"),
    ('config is a folder', 'train', lambda w: [w.root], 'folder'),
    ('config does not parse', 'train', lambda w: [w.file('bad.py', 'model = dict(\n')], r'bad\.py'),
    ('config without a model', 'train', lambda w: [w.file('bare.py', 'a = 1\n')], r'bare\.py.* model'),
    ('base does not exist', 'train', lambda w: [w.file('child.py', "_base_ = 'gone.py'\n")], r'gone\.py'),
    ('option without a value', 'train', train('foo'), r"'foo'"),
    ('option with an open bracket', 'train', train('train_cfg.max_epochs=[1,'), r'max_epochs'),
    ('model replaced by a number', 'train', train('model=5'), 'model'),
    ('misspelled key', 'train', train('optim_wraper.optimizer.lr=1'), 'optim_wrapper'),
    ('key of nobody', 'train', train('data_root=/nonexistent'), 'data_root'),
    ('no images', 'train', train('train_dataloader.dataset.data_root=/nope'), '/nope'),
    (
        'empty folder',
        'train',
        lambda w: train(f'train_dataloader.dataset.data_root={empty(w)}')(w),
        'empty.*no image',
    ),
    ('batch size 0', 'train', train('train_dataloader.batch_size=0'), 'batch_size'),
    ('batch size negative', 'train', train('train_dataloader.batch_size=-4'), 'batch_size'),
    ('batch size a word', 'train', train('train_dataloader.batch_size=many'), 'batch_size.*many'),
    ('batch larger than the data', 'train', train('train_dataloader.batch_size=64'), 'batch_size'),
    ('workers negative', 'train', train('train_dataloader.num_workers=-1'), 'num_workers'),
    ('half an epoch', 'train', train('train_cfg.max_epochs=1.5'), 'max_epochs'),
    ('no epoch', 'train', train('train_cfg.max_epochs=0'), 'max_epochs'),
    ('rate a word', 'train', train('optim_wrapper.optimizer.lr=fast'), 'lr'),
    ('rate negative', 'train', train('optim_wrapper.optimizer.lr=-1'), 'lr'),
    ('rate not a number', 'train', train('optim_wrapper.optimizer.lr=nan'), 'lr'),
    ('patch size 0', 'train', train('model.backbone.patch_size=0'), 'patch_size'),
    ('no heads', 'train', train('model.backbone.arch.num_heads=0'), 'num_heads'),
    ('heads do not divide', 'train', train('model.backbone.arch.num_heads=5'), 'num_heads'),
    ('grid negative', 'train', train('train_dataloader.dataset.pipeline.2.grid_size=-6'), 'grid_size'),
    ('half a patch', 'train', train('train_dataloader.dataset.pipeline.2.num_masked=6.5'), 'num_masked'),
    ('mask of another grid', 'train', train('train_dataloader.dataset.pipeline.2.grid_size=5'), 'grid|patches|mask'),
    ('unknown model', 'train', train('model.type=BEiT9'), 'BEiT9'),
    ('unknown optimizer', 'train', train('optim_wrapper.optimizer.type=AdamX'), 'AdamX'),
    ('unknown hook', 'train', train('default_hooks.checkpoint.type=CheckpointHok'), 'CheckpointHok'),
    ('misspelled argument of a hook', 'train', train('default_hooks.checkpoint.intervall=5'), 'intervall'),
    ('misspelled argument of the model', 'train', train('model.backbone.depht=3'), 'depht'),
    ('unknown transform', 'train', train('train_dataloader.dataset.pipeline.1.type=Crop9'), 'Crop9'),
    ('work dir below a file', 'train', lambda w: train(work=w.file('note', 'x') and 'note/work')(w), 'note'),
    ('load_from not there', 'train', train('load_from=gone.pth'), r'gone\.pth'),
    (
        'tokenizer not there',
        'train',
        train('model.tokenizer.init_cfg.type=mmbeitv2.PretrainedBEiTv2', 'model.tokenizer.init_cfg.checkpoint=no.pth'),
        r'no\.pth',
    ),
    ('list without labels', 'train', listed('cat/0.jpg\n'), r'line 1 of .*list\.txt'),
    ('list with a word', 'train', listed('cat/0.jpg 0\ndog/0.jpg dog\n'), r'line 2 of .*list\.txt'),
    ('list with a fraction', 'train', listed('cat/0.jpg 0\ndog/0.jpg 2.0\n'), r'line 2 of .*list\.txt'),
    ('list with a blank line', 'train', listed('cat/0.jpg 0\n\ndog/0.jpg 1\n'), r'line 2 of .*list\.txt'),
    ('list with a comma', 'train', listed('cat/0.jpg,0\n'), r'line 1 of .*list\.txt'),
    ('list with a tab', 'train', listed('cat/0.jpg 0\ndog/1.jpg\t\n'), r'line 2 of .*list\.txt'),
    ('list binary', 'train', listed(b'\xff\xfe\x00\x81' * 40), r'list\.txt'),
    ('list empty', 'train', listed(''), r'list\.txt'),
    ('list with a label too large', 'train', listed('cat/0.jpg 0\ndog/0.jpg 99\n' * 4), r'99'),
    ('list with a negative label', 'train', listed('cat/0.jpg 0\ndog/0.jpg -1\n' * 4), r'-1'),
    ('list with a missing image', 'train', listed('cat/0.jpg 0\ndog/gone.jpg 1\ncat/1.jpg 0\ncat/2.jpg 0\n'), 'gone'),
    (
        'image cut off',
        'train',
        lambda w: train(
            f'train_dataloader.dataset.data_root={spoilt(w, "cut", lambda f: [cut(p) for p in f.rglob("*.jpg")])}'
        )(w),
        r'\.jpg',
    ),
    (
        'image of too many pixels',
        'train',
        lambda w: train(
            f'train_dataloader.dataset.data_root={spoilt(w, "huge", lambda f: [huge(p) for p in f.rglob("*.jpg")])}'
        )(w),
        r'pixels',
    ),
    (
        'label too large',
        'train',
        labeled(lambda f: write_png(f / LABEL, (40, 40), 9)),
        r'1\.png.* label [89]',
    ),
    ('label RGB', 'train', labeled(lambda f: write_png(f / LABEL, (40, 40, 3))), r'1\.png'),
    (
        'label of another size',
        'train',
        labeled(lambda f: write_png(f / LABEL, (30, 40))),
        r'1\.png',
    ),
    ('label cut off', 'train', labeled(lambda f: cut(f / LABEL)), r'1\.png'),
    ('label missing', 'train', labeled(lambda f: (f / LABEL).unlink()), r'1\.png'),
    (
        'no segmented images',
        'train',
        labeled(lambda f: [p.unlink() for p in (f / 'images/training').iterdir()]),
        'training',
    ),
]

RESUME: list[Row] = [
    ('resume from nothing', 'train', lambda w: [*train()(w), '--resume', 'gone.pth'], r'gone\.pth'),
    (
        'other heads',
        'train',
        lambda w: [*resume(w, 'model.backbone.arch.num_heads=8', 'model.neck.num_heads=8')],
        'rel_pos_bias|num_heads|shape',
    ),
    ('other width of the MLP', 'train', lambda w: resume(w, 'model.backbone.mlp_ratio=2'), 'mlp'),
    ('other depth', 'train', lambda w: resume(w, 'model.backbone.arch.depth=3'), 'blocks|depth|out_indices'),
    (
        'other number of codes',
        'train',
        lambda w: resume(w, 'model.head.num_codes=32', 'model.tokenizer.quantizer.num_codes=32'),
        'lm_head|num_codes',
    ),
    (
        'other images',
        'train',
        lambda w: resume(w, f'train_dataloader.dataset.data_root={w.root}/images/val/cat'),
        'data',
    ),
    ('other stage', 'train', lambda w: [w.classification, *resume(w)[1:]], 'checkpoint|stage|lacks'),
    ('last checkpoint cut off', 'train', lambda w: resume(w, change=lambda d: cut(d / 'epoch_1.pth')), r'epoch_1\.pth'),
    (
        'weights only',
        'train',
        lambda w: resume(w, change=lambda d: strip(d / 'epoch_1.pth')),
        r'epoch_1\.pth.*(optimizer|weights)',
    ),
    ('NaN', 'train', lambda w: resume(w, change=lambda d: poison(d / 'epoch_1.pth')), 'NaN|finite'),
    ('code in the file', 'train', lambda w: resume(w, change=lambda d: booby_trap(d / 'epoch_1.pth')), r'epoch_1\.pth'),
    (
        'code in a file that last_checkpoint names',
        'train',
        lambda w: resume(w, change=lambda d: (d / 'last_checkpoint').write_text(booby_trap(w.root / 'evil.pth'))),
        r'evil\.pth',
    ),
    (
        'code in a file for the backbone',
        'train',
        lambda w: train(
            'model.backbone.init_cfg.type=Pretrained',
            f'model.backbone.init_cfg.checkpoint={booby_trap(w.root / "evil.pth")}',
        )(w),
        r'evil\.pth',
    ),
]

TOKENS: list[Row] = [
    ('folder missing', 'tokenize_images', tokenize(images=lambda w: '/nope'), '/nope'),
    ('folder empty', 'tokenize_images', tokenize(images=empty), 'no image'),
    ('checkpoint missing', 'tokenize_images', tokenize(checkpoint=lambda w: 'gone.pth'), r'gone\.pth'),
    ('checkpoint nameless', 'tokenize_images', tokenize(checkpoint=lambda w: ''), 'checkpoint'),
    (
        'checkpoint NaN',
        'tokenize_images',
        tokenize(checkpoint=lambda w: w.checkpoint('nan.pth', lambda s: s['encoder.cls_token'].fill_(torch.nan))),
        r'nan\.pth.*(NaN|finite)',
    ),
    ('batch size 0', 'tokenize_images', tokenize('--batch-size', '0'), 'batch-size'),
    ('batch size negative', 'tokenize_images', tokenize('--batch-size', '-3'), 'batch-size'),
    ('workers negative', 'tokenize_images', tokenize('--num-workers', '-1'), 'num-workers'),
    ('no such device', 'tokenize_images', tokenize('--device', 'toaster'), 'toaster'),
    ('out is no npz', 'tokenize_images', tokenize('--out', 'codes.txt'), r'codes\.txt'),
    ('out below a file', 'tokenize_images', tokenize('--out', str(ROOT / 'setup.py/codes.npz')), r'setup\.py'),
    ('out is a folder', 'tokenize_images', lambda w: [*tokenize()(w), '--out', made(w.root / 'dir.npz')], r'dir\.npz'),
    (
        'all images cut off',
        'tokenize_images',
        tokenize(images=lambda w: spoilt(w, 'cut', lambda f: [cut(p) for p in f.rglob('*.jpg')])),
        'cut|read',
    ),
]


def convert(*arguments: str) -> Callable[[World], list]:
    return lambda w: [w.codes, *arguments]


def attention(*options: str) -> Callable[[World], list]:
    """Arguments of visualize_attention.py."""
    return lambda w: [
        w.pretraining, w.trained / 'epoch_1.pth', w.root / 'images/train/cat/0.jpg', *options
    ]  # fmt: skip


def probe(*options: str, bank: str = 'images/train', query: str = 'images/val') -> Callable[[World], list]:
    """Arguments of probe_features.py."""
    return lambda w: [
        w.pretraining, w.trained / 'epoch_1.pth', '--bank', w.root / bank, '--query', w.root / query,
        '--num-workers', '0', *options,
    ]  # fmt: skip


def made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


OTHERS: list[Row] = [
    ('target is the source', 'convert_checkpoint', lambda w: [w.codes, w.codes, '--to', 'official'], 'tokenizer'),
    ('no place for a tokenizer', 'convert_checkpoint', convert('out.pth', '--to', 'timm'), 'timm'),
    ('source missing', 'convert_checkpoint', lambda w: ['gone.pth', 'out.pth', '--to', 'timm'], r'gone\.pth'),
    ('folder as file', 'convert_checkpoint', lambda w: [w.codes, made(w.root / 'd'), '--to', 'official'], 'folder'),
    ('scored without a checkpoint', 'test', lambda w: [w.classification, 'gone.pth'], r'gone\.pth'),
    ('scored with another model', 'test', lambda w: [w.classification, w.codes], 'tokenizer'),
    ('out of scores is no json', 'test', lambda w: [w.classification, w.codes, '--out', 'a.txt'], r'a\.txt'),
    (
        'out of scores below a file',
        'test',
        lambda w: [w.classification, w.codes, '--out', ROOT / 'setup.py/a.json'],
        r'setup\.py',
    ),
    ('config without a test', 'test', lambda w: [w.pretraining, w.trained / 'epoch_1.pth'], 'test'),
    (
        'label beyond the classes in a test',
        'test',
        lambda w: [
            w.segmentation,
            w.segmenter,
            '--cfg-options',
            f'test_dataloader.dataset.data_root={high_label(w)}',
        ],
        r'2\.png',
    ),
    ('no neighbors', 'probe_features', probe('--num-neighbors', '0'), 'num-neighbors'),
    ('flat folder', 'probe_features', probe(bank='images/train/cat', query='images/val/cat'), 'class'),
    ('bank missing', 'probe_features', probe(bank='gone'), 'gone'),
    ('other classes', 'probe_features', probe(query='ade/images'), 'class'),
    ('patch outside', 'visualize_attention', attention('--patch', '9', '9', '--out', 'a.png'), 'patch'),
    ('picture of unknown kind', 'visualize_attention', attention('--out', 'a.xyz'), r'xyz'),
    ('picture is a folder', 'visualize_attention', lambda w: attention('--out', made(w.root / 'f.png'))(w), r'f\.png'),
    (
        'image missing',
        'visualize_attention',
        lambda w: [*attention('--out', 'a.png')(w)[:2], 'no.jpg', '--out', 'a.png'],
        'no.jpg',
    ),
    (
        'no images of a codebook',
        'visualize_codebook',
        lambda w: [w.tokenizer, w.codes, w.root / 'images/train', '--out', 'page', '--num-images', '-40'],
        'num-images',
    ),
    (
        'context negative',
        'visualize_codebook',
        lambda w: [w.tokenizer, w.codes, w.root / 'images/train', '--out', 'page', '--context', '-1'],
        'context',
    ),
    (
        'no images of masks',
        'visualize_masks',
        lambda w: [
            w.pretraining,
            w.trained / 'epoch_1.pth',
            w.root / 'images/train',
            '--out',
            'm.png',
            '--num-images',
            '0',
        ],
        'num-images',
    ),
    ('flops of nothing', 'get_flops', lambda w: ['gone.py'], r'gone\.py'),
    ('benchmark of nothing', 'benchmark', lambda w: ['tokenizer', '--batch-size', '0'], 'batch-size'),
    ('json below a file', 'benchmark', lambda w: ['quantizer', '--json', ROOT / 'setup.py/a.json'], r'setup\.py'),
]


def home(world: World, name: str = 'notes.txt') -> Path:
    """A folder of the user's, with a file."""
    return Path(world.file(f'home/{name}', 'a diary')).parents[name.count('/')]


QUICKSTART: list[Row] = [
    ('fresh in the current folder', 'quickstart', lambda w: ['--fresh', '--work-dir', ''], 'current folder'),
    ('fresh in a folder of the user', 'quickstart', lambda w: ['--fresh', '--work-dir', home(w)], r'notes\.txt'),
    (
        'mistyped data',
        'quickstart',
        lambda w: ['--fresh', '--work-dir', w.root / 'new', '--data', '/nope'],
        '/nope',
    ),
    (
        'a file of the user where a stage works',
        'quickstart',
        lambda w: ['--work-dir', home(w, 'teacher/notes.txt')],
        r'teacher|notes\.txt',
    ),
    (
        'data inside the work dir',
        'quickstart',
        lambda w: ['--fresh', '--work-dir', w.root, '--data', w.root / 'images'],
        'images',
    ),
    (
        'work dir of the whole clone',
        'quickstart',
        lambda w: ['--fresh', '--work-dir', ROOT],
        'package',
    ),
    ('work dir below a file', 'quickstart', lambda w: ['--work-dir', w.file('plain', 'x') + '/new'], 'plain'),
    (
        'no classes of segmentation',
        'quickstart',
        lambda w: ['--work-dir', w.root / 'new', '--seg-data', w.root / 'images'],
        'ADE20K',
    ),
    ('one seed for several', 'quickstart', lambda w: ['--work-dir', w.root / 'new', '--seeds', '3', '3'], '--seeds'),
]


def high_label(world: World) -> Path:
    """Segmented images of which one validation label is beyond the classes."""
    return spoilt_from(world, 'ade_high', 'ade', lambda f: write_png(f / 'annotations/validation/2.png', (40, 40), 77))


def spoilt_from(world: World, name: str, source: str, change: Callable[[Path], object]) -> Path:
    folder = world.folder(name, source)
    change(folder)
    return folder


@pytest.mark.parametrize('row', [*TRAIN, *RESUME, *TOKENS, *OTHERS, *QUICKSTART], ids=lambda row: f'{row[1]}: {row[0]}')
def test_bad_input_is_refused_in_one_sentence_and_nothing_is_lost(world: World, row: Row) -> None:
    _, name, arguments, names = row
    command = arguments(world)
    before = fingerprint(world.root)
    ending = drive(name, *command)
    refused(ending, names)
    after = fingerprint(world.root)
    assert not set(before) - set(after), 'files were lost'
    own = ('refused/', 'resumed/')  # work dirs, where logs and the config are written
    changed = [path for path in before if before[path] != after[path]]
    assert not [path for path in changed if not path.startswith(own) or path.endswith('.pth')]
    assert not [path for path in after if path.endswith(('.tmp', '.partial'))]
    assert not (world.root / 'code was run').exists()
