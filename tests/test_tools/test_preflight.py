"""Checks before the first step, each in one sentence; nothing is written."""

from __future__ import annotations

import os
import random
import re
import shutil
from argparse import Namespace
from collections import namedtuple
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from filelock import FileLock
from mmbeitv2_tools import preflight
from mmbeitv2_tools.launch import build_runner, load_config
from mmbeitv2_tools.preflight import checked_runner, describe_run
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.locking import hold_folder
from mmbeitv2.inference.config import read_config
from tests.conftest import classification_config, draw_images, pretraining_config, tiny_vit, write_config

DATASET = 'train_dataloader.dataset'


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of eight 40x48 JPEGs, for training and validation."""
    root = tmp_path_factory.mktemp('data')
    for split in ('train', 'val'):
        draw_images(root / split)
    return root


@pytest.fixture
def pretraining(tmp_path: Path, images: Path) -> str:
    return pretraining_config(tmp_path, images / 'train')


@pytest.fixture
def classification(tmp_path: Path, images: Path) -> str:
    path = Path(classification_config(tmp_path, images / 'train'))
    val = f'dataset=dict(train_dataloader["dataset"], data_root={str(images / "val")!r})'
    text = f'val_dataloader = dict(test_dataloader, {val})\nval_cfg = dict()\nval_evaluator = test_evaluator\n'
    path.write_text(path.read_text() + text)
    return str(path)


def segmentation_config(tmp_path: Path) -> str:
    """Four images of 64x64 for each split, with three classes counted from 1, and a tiny UPerNet-like model."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for folder, suffix, channels in (('images', 'jpg', (3,)), ('labels', 'png', ())):
            (tmp_path / 'seg' / folder / split).mkdir(parents=True)
            for i in range(4):
                pixels = rng.integers(0, 4 if suffix == 'png' else 256, (64, 64, *channels), dtype=np.uint8)
                cv2.imwrite(str(tmp_path / 'seg' / folder / split / f'{i}.{suffix}'), pixels)
    backbone = tiny_vit(out_indices=(1,), out_type='featmap', final_norm='none')
    text = f"""
default_scope = 'mmseg'
pipeline = [dict(type='mmbeitv2.LoadImage'), dict(type='LoadAnnotations'),
            dict(type='RandomCrop', crop_size=(32, 32)), dict(type='PackSegInputs')]
model = dict(type='EncoderDecoder', backbone={backbone!r}, train_cfg=dict(), test_cfg=dict(mode='whole'),
             data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32)),
             decode_head=dict(type='FCNHead', in_channels=32, channels=8, num_convs=1, num_classes=3,
                              norm_cfg=dict(type='BN')))
def loader(split):
    return dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(type='BaseSegDataset', data_root={str(tmp_path / 'seg')!r}, pipeline=pipeline,
                             data_prefix=dict(img_path='images/' + split, seg_map_path='labels/' + split),
                             metainfo=dict(classes=('a', 'b', 'c'), palette=[[0] * 3] * 3),
                             img_suffix='.jpg', seg_map_suffix='.png', reduce_zero_label=True))
train_dataloader, val_dataloader = loader('train'), loader('val')
test_dataloader, test_evaluator, test_cfg = val_dataloader, dict(type='IoUMetric'), dict()
val_evaluator, val_cfg = test_evaluator, test_cfg
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
param_scheduler = [dict(type='PolyLR', power=1.0, by_epoch=False, begin=0, end=4)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4)
"""
    return write_config(tmp_path, text)


def sentence(config: str, work_dir: Path | str, *options: str, is_training: bool = True) -> str:
    """What --check says of a run that cannot be."""
    with pytest.raises(InputError) as error:
        checked_runner(loaded(config, work_dir, *options), is_training, is_rehearsal=True)
    return str(error.value)


def loaded(config: str, work_dir: Path | str, *options: str) -> Config:
    cfg = read_config(config, options)
    cfg.work_dir, cfg.launcher = str(work_dir), 'none'
    return cfg


def plan(cfg: Config, is_training: bool = True) -> str:
    return describe_run(checked_runner(cfg, is_training, is_rehearsal=True), cfg, is_training, None)


def test_data_that_cannot_be_trained_on_is_named(tmp_path: Path, images: Path, classification: str) -> None:
    other, third = tmp_path / 'other', tmp_path / 'third'
    shutil.copytree(images / 'val', other)
    (other / 'dog').rename(other / 'wolf')
    shutil.copytree(images / 'train', third)
    shutil.copytree(third / 'dog', third / 'elk')
    (tmp_path / 'list.txt').write_text('cat/nested/0.jpg 0\ndog/nested/1.jpg 7\n')
    cases = [
        ((f'val_dataloader.dataset.data_root={other}',), "not those of train_dataloader: 'dog', 'wolf' differs"),
        (
            (f'{DATASET}.data_root={third}',),
            'are of 3 classes.*Pass --cfg-options model.head.num_classes=3 data_preprocessor.num_classes=3, or',
        ),
        ((f'{DATASET}.ann_file={tmp_path / "list.txt"}', 'train_dataloader.drop_last=False'), 'nested/1.jpg.*label 7'),
    ]
    for options, words in cases:
        said = sentence(classification, tmp_path / 'work', *options)
        assert re.search(words, said), said
    assert not (tmp_path / 'work').exists()


def test_label_images_are_checked(tmp_path: Path) -> None:
    config, labels = segmentation_config(tmp_path), tmp_path / 'seg/labels/train'
    pixels = cv2.imread(str(labels / '2.png'), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(labels / '2.png'), pixels[:-3])
    assert "train/2.png' has 64x61 pixels, but its image has 64x64" in sentence(config, tmp_path / 'work')
    pixels[5, 5] = 4
    cv2.imwrite(str(labels / '2.png'), pixels)
    assert "train/2.png' has the label 3, but there are 3 classes, counted" in sentence(config, tmp_path / 'work')
    for each in labels.iterdir():
        cv2.imwrite(str(each), np.zeros((64, 64), np.uint8))
    assert 'all pixels of all label images are ignored' in sentence(config, tmp_path / 'work')
    (tmp_path / 'labels.txt').write_text('0, -\n1, a\n2, b\n3, b\n')
    table = dict(type='mmbeitv2.LoadSegLabels', label_table=tmp_path / 'labels.txt')
    options = [f'train_dataloader.dataset.pipeline.1.{key}={value}' for key, value in table.items()]
    assert 'are of 2 classes, but model.decode_head.num_classes=3.' in sentence(config, tmp_path / 'work', *options)


def test_a_single_class_of_images_is_refused(tmp_path: Path, images: Path, classification: str) -> None:
    shutil.copytree(images / 'train/cat', tmp_path / 'one/cat')
    said = sentence(classification, tmp_path / 'work', f'{DATASET}.data_root={tmp_path / "one"}')
    assert 'train_dataloader and model.head.num_classes know a single class' in said


def test_classes_that_never_occur_and_ignored_pixels_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = segmentation_config(tmp_path)
    pixels = np.ones((64, 64), np.uint8)
    pixels[:16] = 0  # a quarter
    for path in (tmp_path / 'seg/labels').rglob('*.png'):
        cv2.imwrite(str(path), pixels)
    plan(loaded(config, tmp_path / 'work'))
    said = capsys.readouterr()
    assert "train_dataloader: no label of 'b', 'c'; 25 % of the pixels are ignored" in said.out + said.err


def test_loaders_have_no_more_workers_than_the_machine_has_cores(tmp_path: Path, classification: str) -> None:
    options = dict(config=classification, cfg_options=['train_dataloader.num_workers=1000'], launcher='none')
    with pytest.warns(UserWarning, match='not 1000'):
        cfg = load_config(Namespace(**options, work_dir=str(tmp_path)))
    assert cfg.train_dataloader.num_workers == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    'line',
    [
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='LARS', lr=1.0))",  # of mmpretrain
        "train_dataloader['dataset'] = dict(type='RepeatDataset', times=3, dataset=train_dataloader['dataset'])",
        "train_dataloader['dataset'] = dict(type='ConcatDataset', datasets=[train_dataloader['dataset']] * 2)",
        "train_dataloader['dataset'] = dict(type='KFoldDataset', num_splits=2, dataset=train_dataloader['dataset'])",
        "train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=2)",
        'val_dataloader = val_cfg = val_evaluator = None',
        "custom_hooks = [dict(type='EMAHook')]",
    ],
)
def test_what_openmmlab_runs_is_not_refused(tmp_path: Path, classification: str, line: str) -> None:
    with Path(classification).open('a') as stream:
        stream.write(f'{line}\n')
    assert 'train images' in plan(loaded(classification, tmp_path / 'work'))


def test_a_work_dir_that_cannot_be_written_is_named(
    tmp_path: Path, pretraining: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "work dir '/proc/work': cannot write to '/proc'" in sentence(pretraining, '/proc/work')
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage(100, 0, 1000))
    assert 'has 1e-06 GB free, but two checkpoints need' in sentence(pretraining, tmp_path / 'work')


def test_a_second_training_is_refused_before_it_makes_a_folder_for_its_log(
    tmp_path: Path, pretraining: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, 'hold_folder', partial(hold_folder, wait=0))
    (tmp_path / 'work').mkdir()
    with FileLock(tmp_path / 'work' / '.lock'), pytest.raises(InputError, match='another training is writing to'):
        checked_runner(loaded(pretraining, tmp_path / 'work'), is_training=True)
    assert [path.name for path in (tmp_path / 'work').iterdir()] == ['.lock']


def test_the_plan_tells_what_will_run_and_leaves_nothing(tmp_path: Path, classification: str) -> None:
    said = plan(loaded(classification, tmp_path / 'work', 'train_cfg.max_epochs=3'))
    assert 'train images  16 in 2 classes' in said
    assert 'length        3 epochs of 4 steps, 12 steps' in said
    assert 'batch size    4 images per process, 4 in total' in said
    assert f'writes to     {tmp_path / "work"}' in said
    assert not (tmp_path / 'work').exists()
    assert 'test images   16' in plan(loaded(classification, tmp_path / 'work'), is_training=False)


def test_the_checks_draw_no_random_number(tmp_path: Path, pretraining: str) -> None:
    def state() -> list[float]:
        return [random.random(), np.random.rand(), torch.rand(1).item()]

    cfg = loaded(pretraining, tmp_path / 'work')
    build_runner(cfg)
    expected = state()
    DefaultScope._instance_dict.clear()
    checked_runner(cfg, is_training=True)
    assert state() == expected
