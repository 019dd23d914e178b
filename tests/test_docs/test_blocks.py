"""Every command and snippet of the documentation works; README.md of this folder explains the markers."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, Registry

from mmbeitv2 import registry
from mmbeitv2.inference.config import walk_settings
from tests.conftest import ROOT
from tests.test_docs.blocks import Block, Settings, blocks_of, pages
from tests.test_docs.forks import ForkingShell
from tests.test_docs.scratch import make_images, make_scratch
from tests.test_docs.tiny import Weights, command_line, everything_tiny, without_weights
from tests.test_interop.conftest import process_of_its_own

# Imported before a program is forked; with them, everything that a tool needs.
PACKAGES = (
    'matplotlib.backends.backend_agg',
    'matplotlib.pyplot',
    'mmpretrain.apis',
    'mmpretrain.datasets',
    'mmpretrain.evaluation',
    'mmpretrain.models',
    'mmseg.apis',
    'mmseg.datasets',
    'mmseg.evaluation',
    'mmseg.models',
    'mmbeitv2_tools.testing',
    'mmbeitv2_tools.training',
    'mmbeitv2.checkpoints',
    'mmbeitv2.datasets',
    'mmbeitv2.engine',
    'mmbeitv2.evaluation',
    'mmbeitv2.pretraining',
    'timm',
)
REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry)]
SECONDS = 300
BLOCKS = [block for page in pages() for block in blocks_of(page)]


@pytest.fixture(scope='session')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    for name in PACKAGES:
        importlib.import_module(name)
    return Weights(tmp_path_factory.mktemp('weights'))


@pytest.fixture(scope='session')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('images')
    make_images(folder)
    return folder


@pytest.fixture(scope='session')
def shell() -> Iterator[ForkingShell]:
    with tempfile.TemporaryDirectory(prefix='docs-') as folder:
        shell = ForkingShell(Path(folder))
        yield shell
        shell.close()


class Page:
    """What the blocks of one page share.

    Attributes:
        folder: the scratch folder.
        variables: of the python blocks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables: dict[str, object] = {'__name__': '__main__'}


@pytest.fixture(scope='session')
def page_of(tmp_path_factory: pytest.TempPathFactory, images: Path, weights: Weights) -> dict[str, Page]:
    class Made(dict[str, Page]):
        def __missing__(self, name: str) -> Page:
            folder = tmp_path_factory.mktemp(Path(name).stem)
            make_scratch(folder, images, weights)
            self[name] = Page(folder)
            return self[name]

    return Made()


@pytest.mark.parametrize('page', pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_has_a_marker(page: Path) -> None:
    unmarked = [block.place for block in blocks_of(page) if not block.kind]
    reasonless = [block.place for block in blocks_of(page) if block.kind == 'not run' and len(block.text.split()) < 3]
    assert not reasonless, f'say in one sentence why these are not run: {", ".join(reasonless)}'
    assert not unmarked, f'write <!-- run: --> or <!-- not run: ... --> above these: {", ".join(unmarked)}'


@pytest.mark.parametrize('block', [block for block in BLOCKS if block.kind == 'run'], ids=lambda block: block.place)
def test_block_runs(block: Block, page_of: dict[str, Page], shell: ForkingShell, weights: Weights) -> None:
    settings, page = block.settings, page_of[block.page]
    code = settings.apply(block.code)
    with _inside(page.folder):
        for path in settings.made:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(weights.of_run(path), path)
    if block.language == 'bash':
        _run_bash(code, page.folder, settings, shell, weights)
    elif settings.is_config:
        with _inside(page.folder), _setting(settings, weights)():
            _read_config(code, settings)
    else:
        with _inside(page.folder), _setting(settings, weights)():
            exec(compile(code, block.place, 'exec'), page.variables)


def _run_bash(code: str, folder: Path, settings: Settings, shell: ForkingShell, weights: Weights) -> None:
    environment = {
        **os.environ,
        'PYTHONPATH': str(ROOT),
        'CUDA_VISIBLE_DEVICES': '',
        'OMP_NUM_THREADS': '1',
        'TORCH_HOME': str(folder / '.torch'),
    }
    arguments = command_line if settings.is_tiny else list
    exit_code, output = shell.run(code, folder, environment, _setting(settings, weights), arguments, SECONDS)
    assert exit_code == 0, f'exit code {exit_code}\n{code}\n{output[-3000:]}'
    assert 'Traceback (most recent call last)' not in output, f'{code}\n{output[-3000:]}'
    assert ': error: ' not in output, f'{code}\n{output[-3000:]}'


def _read_config(code: str, settings: Settings) -> None:
    path = Path(settings.config or 'snippet.py')
    path.parent.mkdir(parents=True, exist_ok=True)
    if settings.base:
        base = settings.base if '::' in settings.base else os.path.abspath(settings.base)
        code = f'_base_ = {base!r}\n{code}'
    path.write_text(code)
    cfg = Config.fromfile(str(path))
    for key, value in walk_settings({key: cfg[key] for key in cfg}):
        if key.endswith('type') and isinstance(value, str) and value.startswith('mmbeitv2.'):
            assert any(kind.get(value) for kind in REGISTRIES), f'{key} = {value!r} is not registered'
    model = cfg.get('model') or {}
    scope = cfg.get('default_scope', 'mmpretrain')
    with DefaultScope.overwrite_default_scope(scope):
        for part in [model] if 'type' in model else model.values():
            if isinstance(part, dict) and 'type' in part:
                MODELS.build(without_weights(part))


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    with _chdir(folder), process_of_its_own('python'):
        yield


def _setting(settings: Settings, weights: Weights) -> type[AbstractContextManager[object]]:
    return (lambda: everything_tiny(weights)) if settings.is_tiny else contextlib.nullcontext


@contextmanager
def _chdir(folder: Path) -> Iterator[None]:
    former = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(former)
