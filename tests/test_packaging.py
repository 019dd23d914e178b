"""What a person has who installed the wheel and has no clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT

# A project of its own: configs that inherit from this package, at tiny size.
PROJECT = {
    'finetune.py': """
_base_ = 'mmbeitv2::classification/beitv2-1600e_vit-b_ft-100e_in1k.py'
data_preprocessor = dict(num_classes=2)
arch = dict(_delete_=True, embed_dims=32, depth=4, num_heads=2)
model = dict(
    backbone=dict(arch=arch, img_size=32, patch_size=8, init_cfg=dict(checkpoint='released.pth')),
    head=dict(num_classes=2, in_channels=32),
    train_cfg=dict(augments=None),
)
pipeline = [dict(type='mmbeitv2.SeedSample'), dict(type='mmbeitv2.LoadImage'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    dataset=dict(_delete_=True, type='CustomDataset', data_root='images', pipeline=pipeline),
)
val_dataloader = val_evaluator = val_cfg = test_dataloader = test_evaluator = test_cfg = None
default_hooks = dict(checkpoint=dict(save_best=None))
train_cfg = dict(max_epochs=1)
""",
    'by_path.py': (
        "_base_ = __import__('mmbeitv2').CONFIGS + '/beitv2_vit-b_1600e.py'\nmodel = dict(head=dict(num_codes=4096))"
    ),
}
USE = """
import os, runpy, sys
from mmengine.config import Config

assert Config.fromfile('by_path.py').model.head.num_codes == 4096  # by a process that has not imported this package

import mmbeitv2.registry
assert mmbeitv2.__file__.startswith(os.environ['PYTHONPATH']), mmbeitv2.__file__
import torch
from mmengine.hub import get_config
from mmengine.registry import MODELS

name = 'classification/beitv2-1600e_vit-b_ft-100e_in1k_release.py'
cfg = get_config(f'mmbeitv2::{name}', pretrained=True)
assert cfg.filename == os.path.join(mmbeitv2.CONFIGS, name)
assert cfg.model_path.endswith('beitv2_base_patch16_224_pt1k_ft1k.pth')

arch = dict(embed_dims=32, depth=4, num_heads=2)
vit = MODELS.build(dict(type='mmbeitv2.BEiTv2ViT', arch=arch, img_size=32, patch_size=8, use_mask_token=True))
torch.save({'model': vit.state_dict()}, 'released.pth')

# What `mim train mmbeitv2 finetune.py` runs.
tools = os.path.join(mmbeitv2.FILES, 'tools')
sys.path[0], sys.argv = tools, ['train.py', 'finetune.py', '--work-dir', 'run']
runpy.run_path(os.path.join(tools, 'train.py'), run_name='__main__')
assert os.path.isfile('run/epoch_1.pth')
"""


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': '', **environment},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope='module')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the package as `pip install mmbeitv2-*.whl` leaves it; the wheel is built from the sdist."""
    if find_spec('setuptools.command.bdist_wheel') is None and find_spec('wheel') is None:
        pytest.skip('this setuptools cannot build a wheel by itself: pip install "setuptools>=70.1"')
    base = tmp_path_factory.mktemp('wheel')
    source = base / 'source'
    ignored = shutil.ignore_patterns('__pycache__', '.mim', '_build')
    for name in ('mmbeitv2', 'configs', 'tools', 'demo', 'docs', 'tests', 'requirements'):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    files = {str(path.relative_to(source)) for path in source.rglob('*') if path.is_file()}
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    pip = (sys.executable, '-m', 'pip', '--disable-pip-version-check')
    build = 'import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])'
    run(sys.executable, '-c', build, str(base), cwd=source)
    (sdist,) = base.glob('*.tar.gz')
    with tarfile.open(sdist) as archive:
        assert files <= {name.partition('/')[2] for name in archive.getnames()}
    run(*pip, 'wheel', '--no-deps', '--no-build-isolation', '-w', str(base), str(sdist), cwd=base)
    (wheel,) = base.glob('*.whl')
    target = ('--target', str(base / 'site'))
    run(*pip, 'install', '--no-deps', '--no-index', '--no-compile', *target, str(wheel), cwd=base)
    return base / 'site'


def test_the_wheel_holds_every_config_and_metafile_and_the_tools_that_need_no_clone(installed: Path) -> None:
    mim = installed / 'mmbeitv2' / '.mim'
    for suffix in ('*.py', '*.yml'):
        expected = {path.relative_to(ROOT) for path in (ROOT / 'configs').rglob(suffix)}
        assert {path.relative_to(mim) for path in (mim / 'configs').rglob(suffix)} == expected
    assert (mim / 'model-index.yml').read_text() == (ROOT / 'model-index.yml').read_text()
    tools = {path.relative_to(ROOT / 'tools') for path in (ROOT / 'tools').rglob('*') if path.suffix in ('.py', '.sh')}
    found = {path.relative_to(mim / 'tools') for path in (mim / 'tools').rglob('*') if path.is_file()}
    # quickstart.sh, run_tests.sh, build_docs.sh and gpu_report.sh make their environment by env.sh.
    by_env = {path for path in tools if 'env.sh"' in (ROOT / 'tools' / path).read_text()}
    assert len(by_env) == 4
    assert found == tools - by_env - {Path('env.sh'), Path('evidence.py'), Path('quickstart.py')}
    assert Path('mmbeitv2_tools', 'launch.py') in found
    assert not list(installed.rglob('demo'))
    # No module, tool or config of it imports the demo or the tests.
    foreign = re.compile(r'^\s*(?:from|import) (?:demo|tests)\b', re.MULTILINE)
    assert not [path for path in (installed / 'mmbeitv2').rglob('*.py') if foreign.search(path.read_text())]
    (metadata,) = installed.glob('mmbeitv2-*.dist-info')
    assert {path.name for path in (metadata / 'licenses').iterdir()} == {'LICENSE', 'NOTICE'}


def test_a_project_elsewhere_inherits_and_trains(installed: Path, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text)
    for label in 'ab':
        (tmp_path / 'images' / label).mkdir(parents=True)
        for i in range(2):
            cv2.imwrite(str(tmp_path / 'images' / label / f'{i}.png'), np.full((32, 32, 3), i * 100, np.uint8))
    run(sys.executable, '-c', USE, cwd=tmp_path, PYTHONPATH=str(installed))


def test_without_mmseg_the_package_imports_and_only_a_config_of_segmentation_asks_for_it(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'mmseg':
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Hidden())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == 'mmseg' else real(name, package)

import mmbeitv2.pretraining, mmbeitv2.checkpoints, mmbeitv2.datasets, mmbeitv2.engine, mmbeitv2.evaluation
from mmbeitv2.apis import read_config
from mmbeitv2.errors import InputError
configs = mmbeitv2.CONFIGS
read_config(configs + '/classification/beitv2-1600e_vit-b_ft-100e_in1k.py')
try:
    read_config(configs + '/segmentation/beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py')
except InputError as error:
    print(error)
"""
    said = run(sys.executable, '-c', script, cwd=tmp_path).splitlines()[-1]
    assert 'mmbeitv2 needs mmseg, which is not installed' in said
    assert 'pip install onedl-mmengine' in said
