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
from mmengine.config import Config
from mmengine.logging import MMLogger

from tests.conftest import ROOT, managers
from tests.test_docs.tiny import Weights, shrink

CLASSES = ('cat', 'dog')
# Beside the sizes: the settings of two classes and one more place for the curves.
COMMON = {
    'optim_wrapper.optimizer.lr': 1e-3,
    'visualizer.vis_backends': [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
    'default_hooks.checkpoint.save_best': None,
}
CLASSIFICATION = {
    'model.head.num_classes': 2,
    'model.train_cfg.augments': None,
    'data_preprocessor.num_classes': 2,
    'val_evaluator.topk': (1,),
    'test_evaluator.topk': (1,),
}
SEGMENTATION = {'train_dataloader.batch_size': 2, 'default_hooks.visualization.interval': 1}


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


def _train(library: str, folder: Path, changes: dict, data: dict, base: str, checkpoint: str, image: str) -> Run:
    config, cfg = folder / 'tiny.py', Config.fromfile(str(ROOT / 'configs' / base))
    cfg.model.backbone.init_cfg = None
    shrink(cfg, Weights(folder))
    cfg.merge_from_dict(COMMON | changes)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.update(data_root=str(folder), **data)
    cfg.dump(config)
    run_tool(library, 'train.py', str(config), '--work-dir', str(folder / 'work'))
    return Run(library, str(config), folder / 'work', str(folder / 'work' / checkpoint), str(folder / image))


@pytest.fixture(scope='session')
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, rng = tmp_path_factory.mktemp('classification'), np.random.default_rng(0)
    for i in range(8):
        _write(folder / CLASSES[i % 2] / f'{i}.jpg', rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
    base = 'classification/beitv2-300e_vit-b_ft-100e_in1k.py'
    return _train('mmpretrain', folder, CLASSIFICATION, dict(data_prefix=''), base, 'epoch_1.pth', 'cat/0.jpg')


@pytest.fixture(scope='session')
def segmentor(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, rng = tmp_path_factory.mktemp('segmentation'), np.random.default_rng(0)
    for i in range(4):
        _write(folder / 'images' / f'{i}.jpg', rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
        _write(folder / 'annotations' / f'{i}.png', rng.integers(0, 151, (40, 48), dtype=np.uint8))
    base = 'segmentation/beitv2-300e_vit-b_upernet_160k_ade20k-512x512.py'
    data = dict(data_prefix=dict(img_path='images', seg_map_path='annotations'))
    return _train('mmseg', folder, SEGMENTATION, data, base, 'iter_2.pth', 'images/0.jpg')
