"""Checks before the first step, each in one sentence; nothing is written."""

from __future__ import annotations

import gc
import json
import os
import random
import re
import shutil
import signal
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmbeitv2_tools.errors.sentences import report_of
from mmbeitv2_tools.preflight import checked_runner, show_plan
from mmbeitv2_tools.preflight.run import _initial_weights
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.locking import hold_folder
from mmbeitv2.inference.config import read_config
from tests.conftest import classification_config, pretraining_config, tiny_vit, write_config

DATASET = 'train_dataloader.dataset'


@pytest.fixture(autouse=True)
def _fast_and_fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """mmengine collects garbage for each dataset, formats each config by yapf, and keeps the scope of former runs."""
    monkeypatch.setattr(Config, 'pretty_text', '')
    DefaultScope._instance_dict.clear()
    gc.freeze()
    yield
    gc.unfreeze()
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of eight 40x48 JPEGs, for training and validation."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for name in ('train/cat', 'train/dog', 'val/cat', 'val/dog'):
        (root / name).mkdir(parents=True)
        for i in range(8):
            cv2.imwrite(str(root / name / f'{i}.jpg'), rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
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
    """What is said of a run that cannot be; that it is an error of its settings or data, without a traceback."""
    try:
        cfg = read_config(config, options)
        cfg.work_dir, cfg.launcher = str(work_dir), 'none'
        show_plan(checked_runner(cfg, is_training, is_rehearsal=True), cfg, is_training, None)
    except Exception as error:
        return report_of(error).sentence
    pytest.fail(f'nothing is said of {options}')


VALUES = [
    ('train_dataloader.batch_size=0', 'must be a whole number of at least 1'),
    ('train_dataloader.batch_size=-4', 'must be a whole number of at least 1'),
    ('train_dataloader.batch_size=many', "is 'many'"),
    ('train_dataloader.batch_size=2.5', 'must be a whole number'),
    ('train_dataloader.batch_size=True', 'is True'),
    ('train_dataloader.num_workers=-1', 'must be a whole number of at least 0'),
    ('train_dataloader.num_worker=2', "train_dataloader in .* has no setting 'num_worker'.*Did you mean 'num_workers'"),
    ('train_cfg.max_epochs=0', 'must be a whole number of at least 1'),
    ('train_cfg.max_epochs=1.5', 'must be a whole number of at least 1'),
    ('train_cfg.max_epoch=3', "train_cfg in .* has no setting 'max_epoch'.*Did you mean 'max_epochs'"),
    ('train_cfg.val_interval=0', 'must be a whole number of at least 1'),
    ('train_cfg.by_epoch=False', r'train_cfg.max_iters is missing .*by_epoch=False'),
    ('train_cfg=None', 'training needs train_cfg, which'),
    ('train_dataloader=None', 'training needs train_dataloader, which'),
    ('val_evaluator=None', 'sets val_dataloader and val_cfg without val_evaluator'),
    ('test_cfg=None', 'sets test_dataloader and test_evaluator without test_cfg'),
    ('optim_wrapper.optimizer.lr=fast', 'must be a number above 0'),
    ('optim_wrapper.optimizer.lr=-1', 'must be a number above 0'),
    ('optim_wrapper.optimizer.lr=0', 'must be a number above 0'),
    ('optim_wrapper.optimizer.lr=nan', 'must be a number above 0'),
    ('optim_wrapper.optimizer.weight_decay=-1', 'must be a number of at least 0'),
    ('optim_wrapper.optimizer.betas=(0.9,1.5)', 'each must be a number of at least 0 and below 1'),
    ('optim_wrapper.accumulative_counts=0', 'must be a whole number of at least 1'),
    ('default_hooks.logger.interval=0', 'must be a whole number of at least 1'),
    ('default_hooks.checkpoint.interval=-2', 'must be a whole number of at least 1, or -1'),
    ('model.backbone.patch_size=0', 'must be a whole number of at least 1'),
    ('model.backbone.arch.num_heads=0', 'must be a whole number of at least 1'),
    ('model.backbone.arch.num_heads=5', 'must divide embed_dims=32'),
    ('model.backbone.arch.embed_dims=-32', 'must be a whole number of at least 1'),
    ('model.backbone.drop_path_rate=1', 'must be a number of at least 0 and below 1'),
    ('model.head.topk=x', "is 'x' .*: it must be a whole number of at least 1"),
    ('model.head.num_classes=0', 'must be a whole number of at least 1'),
    ('data_preprocessor.std=[0,1,1]', 'each must be a number above 0'),
    ('randomness.seed=-1', 'must be a whole number of at least 0 and below 4.29497e'),
    ('randomness.sed=1', "randomness in .* has no setting 'sed'.*Did you mean 'seed'"),
    ('randomness=None', 'randomness is None .*, but must be a dict of settings'),
    ('env_cfg=None', 'env_cfg is None .*, but must be a dict of settings'),
    ('log_processor=True', 'log_processor is True .*, but must be a dict of settings'),
    ('visualizer=x', "visualizer is 'x' .*: it must be a component"),
    ('train_dataloader.dataset.max_unreadable=2', 'must be a number of at least 0 and below 1'),
    ('train_dataloader.num_workers=1000000000000', 'must be a whole number of at least 0 and below 1025'),
    ('train_dataloader.batch_size=[]', 'must be a whole number'),
    ('default_hooks.checkpoint.interval=None', 'must be a whole number of at least 1'),
    ('model.backbone.drop_path_rate=[]', 'each must be'),
    ('model.backbone.img_size=nan', 'must be a whole number'),
    ('train_cfg.by_epoch=1', 'must be True or False'),
    ('model.backbone.out_type=nan', "model.backbone.out_type is nan, but must be one of 'raw', 'featmap'"),
    ('model.backbone.use_abs_pos_emb=1.5', 'model.backbone.use_abs_pos_emb is 1.5, but must be True or False'),
    ('model.backbone.out_indices=x', "model.backbone.out_indices is 'x', but must be a whole number or a list"),
    ('model.backbone.mlp_ratio=nan', 'model.backbone.mlp_ratio is nan, but must be a finite number'),
    ('model.backbone.init_cfg=3', 'model.backbone.init_cfg is 3, but must be a group of settings'),
    (f'{DATASET}.with_label=maybe', f"{DATASET}.with_label is 'maybe', but must be True or False"),
]


@pytest.mark.parametrize(('option', 'words'), VALUES)
def test_a_value_that_cannot_be_is_named(tmp_path: Path, classification: str, option: str, words: str) -> None:
    said = sentence(classification, tmp_path / 'work', option)
    assert re.search(words, said), said
    assert option.partition('=')[0].rpartition('.')[2] in said
    assert not (tmp_path / 'work').exists()


BUILDS = [
    (
        'model.type=ImageClasifier',
        "model in '.*': model 'ImageClasifier' does not exist.*did you mean 'ImageClassifier'",
    ),
    ('model.backbone.type=mmbeitv2.BEiTv2ViTT', "model.backbone in .*did you mean 'mmbeitv2.BEiTv2ViT'"),
    ('model.backbone.drop_path=0.1', "model.backbone in .*has no setting 'drop_path'.*did you mean 'drop_path_rate'"),
    ('model.head.in_channels=many', "model.head.in_channels is 'many'"),
    (f'{DATASET}.pipeline.1.crop_ratio_range=3', f"{DATASET}.pipeline.1 in '.*RandomResizedCrop"),
    (f'{DATASET}.pipeline.1.scale=-3', f"{DATASET}.pipeline.1 in '.*RandomResizedCrop rejects its settings"),
    ('model.head.in_channel=32', "model.head in '.*': LinearClsHead.*in_channel"),
    ('default_hooks.checkpoint.type=CheckpointHok', "default_hooks.checkpoint in .*did you mean 'CheckpointHook'"),
    (
        'default_hooks.checkpoint.intervall=5',
        "checkpoint in .* has no setting 'intervall'. Did you mean 'interval'",
    ),
    (
        'default_hooks.logger.intervall=5',
        "default_hooks.logger in .*'intervall'.*did you mean 'interval'",
    ),
    ('optim_wrapper.optimizer.type=AdamWW', "optimizer.type is 'AdamWW' in .*Did you mean 'AdamW'"),
    ('optim_wrapper.optimizer.weight_dekay=1', "AdamW has no setting 'weight_dekay'.*did you mean 'weight_decay'"),
    ('optim_wrapper.type=OptimWraper', "optim_wrapper in .*did you mean 'OptimWrapper'"),
    ('optim_wrapper.clip_grad.max_nrm=1', "clip_grad in .* has no setting 'max_nrm'. Did you mean 'max_norm'"),
    ('optim_wrapper.constructor=Nobody', "'Nobody' does not exist"),
    (f'{DATASET}.type=ImageFolde', f"{DATASET} in .*'ImageFolde' does not exist"),
    (f'{DATASET}.with_labels=True', f"{DATASET} in '.*'"),
    (f'{DATASET}.pipeline.1.type=RandomResizedCropp', f"{DATASET}.pipeline.1 in .*did you mean '.*RandomResizedCrop'"),
    (f'{DATASET}.pipeline.1.scal=5', f"{DATASET}.pipeline.1 in .*has no setting 'scal'.*did you mean 'scale'"),
    ('train_dataloader.sampler.type=DefaultSample', "train_dataloader.sampler in .*did you mean 'DefaultSampler'"),
    ('train_dataloader.sampler.shufle=True', "train_dataloader.sampler in .*did you mean 'shuffle'"),
    ('val_evaluator.type=Acuracy', "val_evaluator in .*'Acuracy' does not exist.*did you mean 'Accuracy'"),
    ('val_evaluator.topkk=1', "val_evaluator in .*has no setting 'topkk'.*did you mean 'topk'"),
]


@pytest.mark.parametrize(('option', 'words'), BUILDS)
def test_what_mmengine_would_build_later_is_built_now(
    tmp_path: Path, classification: str, option: str, words: str
) -> None:
    said = sentence(classification, tmp_path / 'work', option)
    assert re.search(words, said), said
    assert not (tmp_path / 'work').exists()


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['model.backbone.in_channels=6'], 'jpg. has 3 channels in the pipeline, but model.backbone takes 6. Set'),
        (
            ['data_preprocessor.mean=[1,1,1,1]', 'data_preprocessor.std=[1,1,1,1]'],
            'has 3 channels in the pipeline, but mean of the data preprocessor has 4 entries. Set one entry for each',
        ),
        (['data_preprocessor.std=[1,0,1]'], r'std is \[1, 0, 1\] .*: each must be a number above 0'),
        (
            [f'{DATASET}.pipeline.0.type=mmbeitv2.LoadChannels', f'{DATASET}.pipeline.0.channels=4'],
            'jpg. cannot be read .it has 3 channels of type uint8, but LoadChannels expects channels=4',
        ),
    ],
)
def test_images_of_other_channels_than_the_model_are_refused(
    tmp_path: Path, classification: str, options: list[str], words: str
) -> None:
    said = sentence(classification, tmp_path / 'work', *options)
    assert re.search(words, said), said


def test_a_tokenizer_of_other_channels_than_the_backbone_is_refused(tmp_path: Path, pretraining: str) -> None:
    said = sentence(pretraining, tmp_path / 'work', 'model.backbone.in_channels=6')
    assert 'model.backbone.in_channels=6, but the tokenizer takes images of 3 channels' in said


@pytest.mark.parametrize(
    ('scheduler', 'words'),
    [
        ("[dict(type='CosinAnnealingLR', T_max=3)]", "param_scheduler.0 in .*did you mean 'CosineAnnealingLR'"),
        ("[dict(type='CosineAnnealingLR', Tmax=3)]", "has no setting 'Tmax'.*did you mean 'T_max'"),
        ("[dict(type='CosineAnnealingLR', T_max=0)]", 'T_max is 0'),
        ("dict(type='LinearLR', begin=5, end=3)", 'LinearLR rejects its settings: end should be larger than begin'),
        ("[dict(type='LinearLR', end=0)]", 'param_scheduler.0.end is 0 .*: it must be a number above 0'),
        ("[dict(type='LinearLR', start_factor='')]", "LinearLR.start_factor is '', but must be a finite number"),
        ("[dict(type='')]", "param_scheduler.0.type is '' .*: it must be the name of a component"),
        ('[None]', r'param_scheduler.0 is None .*: it must be a component, dict\(type=...\)'),
        ('[3]', 'param_scheduler.0 is 3'),
        ('True', 'param_scheduler is True .*: it must be a component, dict.*, or a list of them'),
        ('dict()', 'param_scheduler is {}'),
    ],
)
def test_schedules_are_built_now(tmp_path: Path, classification: str, scheduler: str, words: str) -> None:
    with Path(classification).open('a') as stream:
        stream.write(f'param_scheduler = {scheduler}\n')
    said = sentence(classification, tmp_path / 'work')
    assert re.search(words, said), said


@pytest.mark.parametrize(
    ('key', 'value', 'words'),
    [
        ('randomness', '{}', 'randomness has no seed .*. Set randomness.seed, or leave randomness out'),
        ('visualizer', '{}', 'visualizer is {} .*: it must be a component'),
        ('optim_wrapper', '{}', 'optim_wrapper.optimizer is missing'),
        ('optim_wrapper', 'dict(optimizer=3)', 'optim_wrapper.optimizer is 3 .*: it must be a component'),
        ('optim_wrapper', "dict(optimizer=dict(type='SGD', lr={}))", 'optimizer.lr is {}'),
        ('optim_wrapper', "dict(optimizer=dict(type='SGD', lr=1), clip_grad=5)", 'clip_grad is 5 .* group of settings'),
        ('custom_hooks', '[3]', 'custom_hooks.0 is 3 .*: it must be a component'),
        ('custom_hooks', '3', 'custom_hooks is 3 .*: it must be a list of components'),
        ('default_hooks', 'dict(checkpoint=[])', r'default_hooks.checkpoint is \[\] .*: it must be a component'),
        ('model', "dict(type='ImageClassifier', backbone=3)", 'ImageClassifier.backbone is 3, but must be a group'),
        ('model', "dict(type='ImageClassifier', backbone={})", 'a part of ImageClassifier has no type'),
        ('model', 'dict(type=3)', 'model.type is 3 .*: it must be the name of a component'),
    ],
)
def test_what_is_no_component_is_named(tmp_path: Path, classification: str, key: str, value: str, words: str) -> None:
    with Path(classification).open('a') as stream:
        stream.write(f'{key} = {value}\n')
    said = sentence(classification, tmp_path / 'work')
    assert re.search(words, said), said


def test_data_that_cannot_be_trained_on_is_named(tmp_path: Path, images: Path, classification: str) -> None:
    empty, broken, other = tmp_path / 'empty', tmp_path / 'broken', tmp_path / 'other'
    (empty / 'cat').mkdir(parents=True)
    shutil.copytree(images / 'train', broken)
    (broken / 'cat' / '0.jpg').write_bytes(b'no image')
    shutil.copytree(images / 'val', other)
    (other / 'dog').rename(other / 'wolf')
    third = tmp_path / 'third'
    shutil.copytree(images / 'train', third)
    shutil.copytree(third / 'dog', third / 'elk')
    (tmp_path / 'list.txt').write_text('cat/0.jpg 0\ndog/1.jpg 7\n')
    cases = [
        ((f'{DATASET}.data_root={tmp_path / "nowhere"}',), "image folder '.*nowhere.*' not found"),
        ((f'{DATASET}.data_root={empty}',), "'.*empty.*' holds no images"),
        ((f'{DATASET}.data_root={broken}',), r'broken/cat/0.jpg'),
        (
            ('train_dataloader.batch_size=64',),
            'does not fill one batch: 16 images .* are fewer than batch_size=64',
        ),
        ((f'val_dataloader.dataset.data_root={other}',), "number 1 is 'wolf' in '.*other.*' and 'dog' in '.*train"),
        ((f'{DATASET}.data_root={third}', f'val_dataloader.dataset.data_root={third}'), "elk/0.jpg' has label 2"),
        ((f'{DATASET}.ann_file={tmp_path / "list.txt"}', 'train_dataloader.drop_last=False'), 'dog/1.jpg.*label 7'),
        (
            (f'{DATASET}.pipeline.2.type=mmbeitv2.PackMaskedImage',),
            "passing image '.*cat/0.jpg' through the pipeline of train_dataloader",
        ),
        (
            (f'{DATASET}.type=mmpretrain.CustomDataset', f'{DATASET}.ann_file={tmp_path / "none.txt"}'),
            f"{DATASET} in '.*' needs '.*none.txt', which cannot be read",
        ),
    ]
    for options, words in cases:
        said = sentence(classification, tmp_path / 'work', *options)
        assert re.search(words, said), said
    assert not (tmp_path / 'work').exists()


def test_scoring_checks_its_data(tmp_path: Path, images: Path, classification: str) -> None:
    third = tmp_path / 'third'
    shutil.copytree(images / 'val', third)
    shutil.copytree(third / 'dog', third / 'elk')
    option = f'test_dataloader.dataset.data_root={third}'
    assert "elk/0.jpg' has label 2" in sentence(classification, tmp_path, option, is_training=False)
    assert 'scoring needs test_evaluator' in sentence(
        classification, tmp_path, 'test_evaluator=None', is_training=False
    )


def damage_label(root: Path, name: str) -> None:
    """Makes one thing wrong with a segmentation data set."""
    label = root / 'labels' / 'train' / '2.png'
    pixels = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
    if name == 'value':
        pixels[5, 5] = 4
    elif name == 'value of val':
        label = root / 'labels' / 'val' / '3.png'
        pixels[5, 5] = 200
    elif name == 'size':
        pixels = pixels[:-3]
    elif name == 'color':
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    elif name == '16 bit':
        pixels = pixels.astype(np.uint16) + 256
    cv2.imwrite(str(label), pixels)
    if name == 'cut off':
        label.write_bytes(label.read_bytes()[:100])
    elif name == 'missing':
        label.unlink()
    elif name == 'alone':
        (root / 'images' / 'train' / '2.jpg').unlink()
    elif name == 'empty':
        for image in (root / 'images' / 'val').iterdir():
            image.unlink()
    elif name == 'all ignored':
        for each in (root / 'labels' / 'train').iterdir():
            cv2.imwrite(str(each), np.zeros((64, 64), np.uint8))


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        (
            'value',
            "train_dataloader.*train/2.png' has the label 3, but there are 3 classes, counted from 0 after",
        ),
        ('value of val', "val_dataloader: label image '.*val/3.png' has the label 199"),
        ('size', "train/2.png' has 64x61 pixels, but its image has 64x64"),
        ('color', "train/2.png' has pixels of Pillow mode 'RGB'"),
        ('16 bit', "train/2.png' has pixels of Pillow mode 'I;16'"),
        ('cut off', "label image '.*train/2.png' cannot be read"),
        ('missing', "train/2.jpg' has no label image '.*train/2.png'"),
        ('empty', "val_dataloader finds no images with data_root='.*seg', data_prefix=.*img_suffix='.jpg'"),
        ('all ignored', 'train_dataloader: all pixels of all label images are ignored'),
    ],
)
def test_label_images_are_checked(tmp_path: Path, name: str, words: str) -> None:
    config = segmentation_config(tmp_path)
    damage_label(tmp_path / 'seg', name)
    said = sentence(config, tmp_path / 'work')
    assert re.search(words, said), said


SEGMENTATION = [
    ('model.decode_head.channels=0', 'must be a whole number of at least 1'),
    ('model.decode_head.channels=many', "channels is 'many' .*: it must be a whole number of at least 1"),
    ('model.decode_head.num_convs=1.5', 'must be a whole number of at least 0'),
    ('model.decode_head.dropout_ratio=7', 'must be a number below 1'),
    ('model.decode_head.ignore_index=abc', 'must be a whole number'),
    ('model.decode_head.loss_decode=3', r'must be a component, dict\(type=...\)'),
    ('model.decode_head.align_corners=maybe', 'must be True or False'),
    (
        'model.decode_head.norm_cfg.type=SyncBatch',
        "norm_cfg.type is 'SyncBatch' .*, but no such component exists. Did you mean",
    ),
    ('model.decode_head.norm_cfg.requires_grad=maybe', 'must be True or False'),
    ('model.data_preprocessor.size=(32.5,32)', r'must be a list of two whole numbers of at least 1, \(height, width\)'),
    ('model.test_cfg.mode=slides', 'must be one of slide, whole'),
    ('val_evaluator.iou_metrics=[mIou]', 'must be a list of some of mIoU, mDice, mFscore'),
    (f'{DATASET}.pipeline.2.crop_size=(32.5,32)', 'must be a whole number of at least 1, or a list of two'),
    (f'{DATASET}.pipeline.2.cat_max_ratio=abc', 'must be a number'),
    (f'{DATASET}.metainfo.classes=abc', 'must be a list of names, or a text file with one name per line'),
    (f'{DATASET}.metainfo.palette=3', r'must be a list of colors, each \[red, green, blue\]'),
    (f'{DATASET}.reduce_zero_label=maybe', 'must be True or False'),
    (f'{DATASET}.data_prefix.img_path=None', 'must be the path of a folder'),
]


def test_a_setting_that_mmseg_would_report_late_or_by_a_traceback_is_named(tmp_path: Path) -> None:
    config = segmentation_config(tmp_path)
    for option, words in SEGMENTATION:
        said = sentence(config, tmp_path / 'work', option)
        assert re.search(words, said), said
        assert option.partition('=')[0] in said
    said = sentence(config, tmp_path / 'work', 'model.test_cfg.mode=slide', 'model.test_cfg.crop_size=(32,32)')
    assert re.search("test_cfg.stride is None .*: with mode='slide' it must be a list of two", said), said


def test_label_images_without_an_image_are_told_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = segmentation_config(tmp_path)
    damage_label(tmp_path / 'seg', 'alone')
    cfg = loaded(config, tmp_path / 'work')
    show_plan(checked_runner(cfg, True, is_rehearsal=True), cfg, True, None)
    said = capsys.readouterr()
    assert 'train images  3' in said.out
    assert re.search("1 label images in '.*train' have no image and are left out; the first is '2.png'", str(said))


def test_a_head_may_ignore_another_value_than_255(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = segmentation_config(tmp_path)
    damage_label(tmp_path / 'seg', 'value of val')
    option = 'model.decode_head.ignore_index=199'  # 200, reduced by one
    assert 'val images    4' in plan(loaded(config, tmp_path / 'work', option), capsys)


def test_a_class_list_shorter_than_the_labels_is_named(tmp_path: Path) -> None:
    config = segmentation_config(tmp_path)
    options = [
        f'{name}_dataloader.dataset.metainfo.{setting}'
        for name in ('train', 'val', 'test')
        for setting in ('classes=(a,b)', 'palette=[[0,0,0],[9,9,9]]')
    ]
    assert 'there are 2 classes' in sentence(config, tmp_path / 'work', *options)
    assert 'there are 2 classes' in sentence(config, tmp_path / 'work', *options, is_training=False)
    assert 'there are 2 classes' in sentence(config, tmp_path / 'work', 'model.decode_head.num_classes=2')


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
def test_what_openmmlab_runs_is_not_refused(
    tmp_path: Path, classification: str, line: str, capsys: pytest.CaptureFixture
) -> None:
    with Path(classification).open('a') as stream:
        stream.write(f'{line}\n')
    assert 'train images' in plan(loaded(classification, tmp_path / 'work'), capsys)


def test_a_loop_without_by_epoch_does_not_stop_scoring(
    tmp_path: Path, classification: str, capsys: pytest.CaptureFixture
) -> None:
    """As in mmpretrain's configs of BLIP."""
    Path(classification).write_text(Path(classification).read_text().replace('by_epoch=True, ', ''))
    assert 'test images' in plan(loaded(classification, tmp_path / 'work'), capsys, is_training=False)
    assert 'train_cfg.by_epoch is missing' in sentence(classification, tmp_path / 'work')


def test_label_images_are_read_once_in_each_part_of_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    config = Path(segmentation_config(tmp_path))
    with config.open('a') as stream:
        stream.write("""
train_dataloader['dataset'] = dict(type='RepeatDataset', times=100000, dataset=dict(
    type='ConcatDataset', datasets=[train_dataloader['dataset'], val_dataloader['dataset']]))
""")
    read = []
    decode = mmcv.imfrombytes
    monkeypatch.setattr(mmcv, 'imfrombytes', lambda content, **options: read.append(1) or decode(content, **options))
    assert 'train images  800,000' in plan(loaded(str(config), tmp_path / 'work'), capsys)
    assert len(read) == 8 + 4 + 2  # of both parts, of val, and the first of each loader through its pipeline
    damage_label(tmp_path / 'seg', 'value of val')
    assert re.search("train_dataloader: label .*val/3.png' has the label 199", sentence(str(config), tmp_path / 'work'))


def test_a_work_dir_that_cannot_be_written_is_named(
    tmp_path: Path, pretraining: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'file').write_text('mine')
    for folder in (tmp_path / 'file', tmp_path / 'file' / 'below'):
        assert f"work dir '{folder}' lies below '{tmp_path / 'file'}', which is not a folder" in sentence(
            pretraining, folder
        )
    assert (tmp_path / 'file').read_text() == 'mine'
    assert "work dir '/proc/work': cannot write to '/proc'" in sentence(pretraining, '/proc/work')
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage(100, 0, 1000))
    assert re.search(r'has 1 kB free, but two checkpoints need [\d.]+ MB', sentence(pretraining, tmp_path / 'work'))


def loaded(config: str, work_dir: Path, *options: str) -> Config:
    cfg = read_config(config, options)
    cfg.work_dir, cfg.launcher = str(work_dir), 'none'
    return cfg


def plan(cfg: Config, capsys: pytest.CaptureFixture, is_training: bool = True) -> str:
    show_plan(checked_runner(cfg, is_training, is_rehearsal=True), cfg, is_training, None)
    return capsys.readouterr().out


def test_a_second_training_is_refused_before_it_makes_a_folder_for_its_log(tmp_path: Path, pretraining: str) -> None:
    reader, writer = os.pipe()
    first = os.fork()
    if first == 0:
        hold_folder(tmp_path / 'work')
        os.write(writer, b'held')
        signal.pause()
        os._exit(0)
    try:
        assert os.read(reader, 4) == b'held'
        with pytest.raises(InputError, match=rf'another training \(process {first} on .*\) is writing to'):
            checked_runner(loaded(pretraining, tmp_path / 'work'), is_training=True)
    finally:
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
    assert [path.name for path in (tmp_path / 'work').iterdir()] == ['.lock']


def test_a_test_set_that_is_wrong_does_not_stop_training(
    tmp_path: Path, classification: str, capsys: pytest.CaptureFixture
) -> None:
    said = plan(loaded(classification, tmp_path, 'test_dataloader.dataset.data_root=nowhere'), capsys)
    assert 'train images  16' in said
    assert "tools/test.py will not work with this config: image folder 'nowhere' not found" in said


def test_the_plan_tells_what_will_run_and_leaves_nothing(
    tmp_path: Path, classification: str, capsys: pytest.CaptureFixture
) -> None:
    said = plan(loaded(classification, tmp_path / 'work', 'train_cfg.max_epochs=3'), capsys)
    assert 'train images  16 in 2 classes' in said
    assert 'length        3 epochs of 4 steps, 12 steps' in said
    assert 'batch size    4 images per process, 4 in total' in said
    assert f'writes to     {tmp_path / "work"}' in said
    assert not (tmp_path / 'work').exists()
    assert 'test images   16' in plan(loaded(classification, tmp_path / 'work'), capsys, is_training=False)


def test_a_check_writes_nowhere_else(tmp_path: Path, classification: str, capsys: pytest.CaptureFixture) -> None:
    backend = dict(type='TensorboardVisBackend', save_dir=str(tmp_path / 'board'))
    with Path(classification).open('a') as stream:
        stream.write(f"visualizer = dict(type='UniversalVisualizer', vis_backends=[{backend!r}])\n")
    plan(loaded(classification, tmp_path / 'work'), capsys)
    assert not (tmp_path / 'board').exists()


def test_the_optimizer_is_logged_once(tmp_path: Path, classification: str) -> None:
    with Path(classification).open('a') as stream:
        stream.write("""
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1),
                     paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10)}))
train_cfg = dict(by_epoch=True, max_epochs=1)
""")
    checked_runner(loaded(classification, tmp_path / 'work'), is_training=True).train()
    (log,) = (tmp_path / 'work').glob('*/*.log')
    assert log.read_text().count('paramwise_options -- head.fc.weight:lr=') == 1


def test_the_checks_draw_no_random_number_and_list_the_data_once(
    tmp_path: Path, pretraining: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmbeitv2_tools.launch import build_runner

    from mmbeitv2.datasets import ImageFolder

    listed = []
    load = ImageFolder.load_data_list
    monkeypatch.setattr(ImageFolder, 'load_data_list', lambda self: listed.append(1) or load(self))

    def state() -> str:
        return json.dumps([random.random(), np.random.rand(), torch.rand(1).item()])

    cfg = loaded(pretraining, tmp_path / 'work')
    build_runner(cfg)
    expected = state()
    DefaultScope._instance_dict.clear()
    runner = checked_runner(cfg, is_training=True)
    assert state() == expected
    runner.train()
    assert len(listed) == 1
    assert (tmp_path / 'work' / 'epoch_2.pth').is_file()


@pytest.mark.parametrize(
    ('model', 'said'),
    [
        ({}, 'random weights'),
        (
            dict(init_cfg=None, backbone=dict(init_cfg=dict(checkpoint='b.pth'))),
            'b.pth (model.backbone), otherwise random weights',
        ),
        (
            dict(init_cfg=dict(checkpoint='a.pth'), tokenizer=dict(init_cfg=dict(checkpoint='t.pth'))),
            'a.pth (model), t.pth (model.tokenizer)',
        ),
    ],
)
def test_the_summary_names_the_pretrained_files(model: dict, said: str) -> None:
    assert _initial_weights(Config(dict(model=model))) == said
