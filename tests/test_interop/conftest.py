"""Tiny versions of two real configs, trained for a few steps by the tools of mmpretrain and mmsegmentation."""

from __future__ import annotations

import logging
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger

from tests.conftest import ROOT, managers

CLASSES = ('cat', 'dog')
# Beside what the real configs say: sizes, where the data is, and one more place for the curves.
COMMON = """
optim_wrapper = dict(optimizer=dict(lr=1e-3))
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
hooks = dict(logger=dict(interval=1), checkpoint=dict(save_best=None))
arch = dict(_delete_=True, embed_dims=32, depth=4, num_heads=2)
"""
CLASSIFICATION = """
_base_ = {base!r}
model = dict(
    backbone=dict(arch=arch, img_size=32, patch_size=8, init_cfg=None),
    head=dict(num_classes=2, in_channels=32),
    train_cfg=dict(augments=None),
)
data_preprocessor = dict(num_classes=2)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].update(scale=32)
test_pipeline[1].update(scale=40)
test_pipeline[2].update(crop_size=32)
dataset = dict(_delete_=True, type='CustomDataset', data_root={root!r}, with_label=True)
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(**dataset, pipeline=train_pipeline)
)
val_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(**dataset, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
default_hooks = dict(**hooks)
"""
SEGMENTATION = """
_base_ = {base!r}
model = dict(
    data_preprocessor=dict(size=(32, 32)),
    backbone=dict(arch=arch, img_size=32, patch_size=8, out_indices=(0, 1, 2, 3), init_cfg=None),
    neck=dict(embed_dim=32),
    decode_head=dict(in_channels=[32] * 4, channels=8),
    auxiliary_head=dict(in_channels=32, channels=8),
    test_cfg=dict(crop_size=(32, 32), stride=(21, 21)),
)
train_pipeline, test_pipeline, tta_pipeline = _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline
train_pipeline[3].update(scale=(2048, 32))
train_pipeline[4].update(crop_size=(32, 32))
test_pipeline[1].update(scale=(2048, 32))
tta_pipeline[1]['transforms'][0] = [dict(type='Resize', scale=(2048, x), keep_ratio=True) for x in (32, 48)]
prefix = dict(img_path='images', seg_map_path='annotations')
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(data_root={root!r}, data_prefix=prefix, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(data_root={root!r}, data_prefix=prefix, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(**hooks, visualization=dict(interval=1))
"""


class Run(NamedTuple):
    """What a tool of OpenMMLab left of a training."""

    library: str
    config: str
    work_dir: Path
    checkpoint: str
    image: str

    @property
    def log(self) -> str:
        (log,) = (path for path in self.work_dir.glob('*/vis_data/*.json') if path.stem[0].isdigit())
        return str(log)


@contextmanager
def process_of_its_own(*argv: str) -> Iterator[None]:
    """What a new process would have: its own arguments, and none of mmengine's loggers, visualizers and scopes."""
    before = sys.argv, {manager: manager._instance_dict.copy() for manager in managers()}
    sys.argv = list(argv)
    for manager in before[1]:
        manager._instance_dict.clear()
    try:
        yield
    finally:
        sys.argv = before[0]
        for handler in [handler for logger in MMLogger._instance_dict.values() for handler in logger.handlers]:
            if isinstance(handler, logging.FileHandler):
                handler.close()
        for manager in managers():
            manager._instance_dict.clear()
            manager._instance_dict.update(before[1].get(manager, {}))


def run_tool(library: str, tool: str, *args: str) -> None:
    """A tool as installed with its library, in this process."""
    spec = find_spec(library)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0], '.mim', 'tools', tool)
    with process_of_its_own(str(path), *args):
        runpy.run_path(str(path), run_name='__main__')


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def _train(library: str, folder: Path, text: str, base: str, checkpoint: str, image: str) -> Run:
    config = folder / 'tiny.py'
    config.write_text(COMMON + text.format(base=str(ROOT / 'configs' / base), root=str(folder)))
    run_tool(library, 'train.py', str(config), '--work-dir', str(folder / 'work'))
    return Run(library, str(config), folder / 'work', str(folder / 'work' / checkpoint), str(folder / image))


@pytest.fixture(scope='session')
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, rng = tmp_path_factory.mktemp('classification'), np.random.default_rng(0)
    for i in range(8):
        _write(folder / CLASSES[i % 2] / f'{i}.jpg', rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
    base = 'classification/beitv2-300e_vit-b_ft-100e_in1k.py'
    return _train('mmpretrain', folder, CLASSIFICATION, base, 'epoch_1.pth', 'cat/0.jpg')


@pytest.fixture(scope='session')
def segmentor(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, rng = tmp_path_factory.mktemp('segmentation'), np.random.default_rng(0)
    for i in range(4):
        _write(folder / 'images' / f'{i}.jpg', rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
        _write(folder / 'annotations' / f'{i}.png', rng.integers(0, 151, (40, 48), dtype=np.uint8))
    base = 'segmentation/beitv2-300e_vit-b_upernet_160k_ade20k-512x512.py'
    return _train('mmseg', folder, SEGMENTATION, base, 'iter_2.pth', 'images/0.jpg')
