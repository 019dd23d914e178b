"""Whoever imports this package, or uses one of its registered modules, finds everything else as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

# In a fresh process. What mmpretrain, mmseg and open_clip change on import is theirs, so they are imported first.
SNAPSHOT = """
import importlib, logging, multiprocessing, os, pathlib, pkgutil, signal, sys, warnings
import cv2, numpy, torch, mmengine.runner, mmpretrain.apis
import mmseg.apis, open_clip, timm, transformers, sklearn.neighbors
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.fileio.backends.registry_utils import backends, prefix_to_backends
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, HOOKS, MODELS, DefaultScope, Registry, init_default_scope
from mmengine.runner.checkpoint import CheckpointLoader
from mmpretrain.apis import ModelHub
import mmengine.registry.root as registries

forks = []  # of this package; libraries that it imports for the first time have some of their own
def register_at_fork(register=os.register_at_fork, **callbacks):
    forks.extend([name] if (name := sys._getframe(1).f_globals['__name__']).startswith('mmbeitv2') else [])
    register(**callbacks)
os.register_at_fork = register_at_fork

def own(names):
    return {name: value for name, value in names.items() if not str(name).startswith('mmbeitv2')}

def foreign_prefixes():
    return {prefix: found for prefix, found in prefix_to_backends.items()
            if not getattr(found, '__module__', '').startswith('mmbeitv2.')}

def snapshot():
    return dict(
        schemes=list(CheckpointLoader._schemes.items()), backends=own(backends), prefixes=foreign_prefixes(),
        filters=list(warnings.filters), signals={n: signal.getsignal(n) for n in signal.valid_signals()},
        forks=list(forks), hub=sorted(ModelHub._models_dict), packages=own(MODULE2PACKAGE),
        modules={name: dict(registry.module_dict) for name, registry in vars(registries).items()
                 if isinstance(registry, Registry)},
        torch=[torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled(),
               torch.get_num_threads(), torch.get_num_interop_threads(), torch.backends.cudnn.benchmark,
               torch.backends.cudnn.deterministic, torch.get_float32_matmul_precision(), torch.get_default_device(),
               torch.backends.mha.get_fastpath_enabled(), set(torch.serialization.get_safe_globals()),
               torch.backends.cuda.matmul.allow_tf32],
        cv2=[cv2.getNumThreads(), cv2.useOptimized()], numpy=[numpy.geterr(), numpy.get_printoptions()],
        levels={name: getattr(logging.getLogger(name), 'level', None)
                for name in ['', *logging.root.manager.loggerDict] if not name.startswith('mmbeitv2')},
        handlers=list(logging.root.handlers), start=multiprocessing.get_start_method(allow_none=True),
        environ=dict(os.environ), hooks=[sys.excepthook, sys.displayhook, sys.unraisablehook],
        scopes=[(name, scope.scope_name) for name, scope in DefaultScope._instance_dict.items()],
        limits=[sys.getrecursionlimit(), torch.multiprocessing.get_sharing_strategy()],
    )

def compare(before, after):
    for key, value in before.items():
        if key == 'levels':
            after[key] = {name: level for name, level in after[key].items() if name in value}
        assert after[key] == value, (key, value, after[key])
"""
USE = """
torch.save(dict(state_dict={}), sys.argv[1])
init_default_scope('mmseg')
before = snapshot()
import mmbeitv2
names = [module.name for module in pkgutil.walk_packages(mmbeitv2.__path__, 'mmbeitv2.')]
for name in names:
    importlib.import_module(name)
assert len(names) > 60 and 'mmbeitv2.checkpoints.locating' in names
compare(before, snapshot())

from mmpretrain.registry import MODELS as THEIRS
arch = dict(embed_dims=32, depth=1, num_heads=2)
pretrained = dict(type='Pretrained', checkpoint=sys.argv[1])
vit = THEIRS.build(dict(type='mmbeitv2.BEiTv2ViT', arch=arch, img_size=32, init_cfg=pretrained))
vit.init_weights()
vit(torch.zeros(1, 3, 32, 32))
DATASETS.get('mmbeitv2.ImageFolder')
HOOKS.build(dict(type='mmbeitv2.SeedStepHook'))
HOOKS.build(dict(type='mmbeitv2.AtomicCheckpointHook', interval=1))
compare(before, snapshot())

from mmbeitv2.apis import VisualTokenizer, export_model, load_model, probe_features
config, checkpoint, tokenizer, tokenizer_weights = sys.argv[2:6]
folder = pathlib.Path(sys.argv[6])
before['start'] = multiprocessing.get_start_method()  # the first bar of tqdm settles on the default
for use in (
    lambda: load_model(config, checkpoint),
    lambda: VisualTokenizer(tokenizer, tokenizer_weights, device='cpu'),
    lambda: probe_features(config, checkpoint, folder, folder, num_neighbors=1, num_workers=0, device='cpu'),
    lambda: export_model(tokenizer, tokenizer_weights, sys.argv[1] + '.pt2'),
):
    use()
    compare(before, snapshot())
"""


def test_when_every_module_is_imported_and_some_are_used_nothing_of_the_host_is_changed(
    tmp_path: Path, image_folder: Path, pretrained: tuple[str, str], tokenizer: tuple[str, str]
) -> None:
    run_alone(tmp_path, '-c', SNAPSHOT + USE, str(tmp_path / 'file.pth'), *pretrained, *tokenizer, str(image_folder))


def run_alone(folder: Path, *arguments: str) -> None:
    environment = os.environ | {'PYTHONPATH': str(ROOT), 'CUDA_VISIBLE_DEVICES': ''}
    command = [sys.executable, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]


# A project of mmengine as people have them: classes from a file, a mask with -inf in the model, mmengine's Runner.
# Of this package it only uses the backbone.
PROJECT = """
import sys
import numpy as np, torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner, load_checkpoint

@DATASETS.register_module()
class Noise(BaseDataset):
    def load_data_list(self):
        return [dict(inputs=torch.randn(3, 32, 32), label=i % 2) for i in range(4)]

@MODELS.register_module()
class Classifier(BaseModel):
    def __init__(self, backbone, classes):
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.head = torch.nn.Linear(32, classes)
        self.register_buffer('mask', torch.full((4, 4), float('-inf')).triu(1))

    def forward(self, inputs, label, sample_idx=None, mode='loss'):
        features = self.backbone(torch.stack(inputs))[0]
        return dict(loss=torch.nn.functional.cross_entropy(self.head(features), torch.tensor(label)))

def config(epochs, **more):
    classes = tuple(np.loadtxt('classes.txt', dtype=str))
    backbone = dict(type='mmbeitv2.BEiTv2ViT', arch=dict(embed_dims=32, depth=1, num_heads=2), img_size=32)
    dataset = dict(type='Noise', metainfo=dict(classes=classes), serialize_data=False)
    return Config(dict(
        model=dict(type='Classifier', backbone=backbone, classes=2), work_dir='runs', default_scope='mmengine',
        train_dataloader=dict(batch_size=2, sampler=dict(type='DefaultSampler'), dataset=dataset),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), train_cfg=dict(by_epoch=True, max_epochs=epochs),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)), log_level='WARNING', **more))

Runner.from_cfg(config(1)).train()
saved = torch.load('runs/epoch_1.pth', weights_only=False)
assert saved['meta']['dataset_meta']['classes'] == ('road', 'sky')
model = MODELS.build(config(1).model)
loaded = load_checkpoint(model, 'runs/epoch_1.pth', map_location='cpu')
assert loaded['meta']['dataset_meta'] == saved['meta']['dataset_meta']
assert loaded['meta']['cfg'] == saved['meta']['cfg']
assert all(torch.equal(value, saved['state_dict'][key]) for key, value in model.state_dict().items())
runner = Runner.from_cfg(config(2, resume=True))
runner.train()
assert runner.epoch == 2
from mmengine.runner.checkpoint import CheckpointLoader
assert {loader.__module__ for loader in CheckpointLoader._schemes.values()} <= {
    'mmengine.runner.checkpoint', 'mmpretrain.models.utils.clip_generator_helper'}
"""


def test_a_project_of_mmengine_trains_saves_loads_and_resumes_with_our_backbone_as_without_us(tmp_path: Path) -> None:
    (tmp_path / 'classes.txt').write_text('road\nsky\n')
    (tmp_path / 'project.py').write_text(PROJECT)
    run_alone(tmp_path, 'project.py')
