"""Every command and snippet of the documentation works; README.md of this folder explains the markers."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, Registry

from mmbeitv2 import registry
from mmbeitv2.inference.config import walk_settings
from tests.conftest import ROOT
from tests.test_docs.blocks import Block, Settings, blocks_of, pages
from tests.test_docs.forks import ForkingShell, run_program
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


@pytest.fixture(scope='session')
def scratch_of(
    tmp_path_factory: pytest.TempPathFactory, images: Path, weights: Weights
) -> Callable[[str], tuple[Path, dict[str, object]]]:
    """The scratch folder of a page, and the variables of its python blocks."""

    @cache
    def make(page: str) -> tuple[Path, dict[str, object]]:
        folder = tmp_path_factory.mktemp(Path(page).stem)
        make_scratch(folder, images, weights)
        return folder, {'__name__': '__main__'}

    return make


@pytest.mark.parametrize('page', pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_has_a_marker(page: Path) -> None:
    unmarked = [block.place for block in blocks_of(page) if not block.kind]
    reasonless = [block.place for block in blocks_of(page) if block.kind == 'not run' and len(block.text.split()) < 3]
    assert not reasonless, f'say in one sentence why these are not run: {", ".join(reasonless)}'
    assert not unmarked, f'write <!-- run: --> or <!-- not run: ... --> above these: {", ".join(unmarked)}'


@pytest.mark.parametrize('block', [block for block in BLOCKS if block.kind == 'run'], ids=lambda block: block.place)
def test_block_runs(
    block: Block,
    scratch_of: Callable[[str], tuple[Path, dict[str, object]]],
    shell: ForkingShell,
    weights: Weights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = block.settings
    if '$MMSEG/analysis_tools' in block.code and mmseg.__version__ < '1.3':
        pytest.skip('mmsegmentation 1.2 draws with OpenCV 4 and counts with an older mmengine only')
    folder, variables = scratch_of(block.page)
    code = settings.apply(block.code)
    monkeypatch.chdir(folder)
    for path in settings.made:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(weights.of_run(path), path)
    if block.language == 'bash':
        _run_bash(code, folder, settings, shell, weights)
        return
    tiny = everything_tiny(weights) if settings.is_tiny else contextlib.nullcontext()
    with process_of_its_own('python'), tiny:
        if settings.is_config:
            _read_config(code, settings)
        else:
            exec(compile(code, block.place, 'exec'), variables)


def _run_bash(code: str, folder: Path, settings: Settings, shell: ForkingShell, weights: Weights) -> None:
    environment = {
        **os.environ,
        'PYTHONPATH': str(ROOT),
        'CUDA_VISIBLE_DEVICES': '',
        'OMP_NUM_THREADS': '1',
        'TORCH_HOME': str(folder / '.torch'),
    }

    def tiny_program(argv: list[str]) -> None:
        with everything_tiny(weights):
            run_program(command_line(argv))

    program = tiny_program if settings.is_tiny else run_program
    exit_code, output = shell.run(code, folder, environment, program, SECONDS)
    assert exit_code == 0, f'exit code {exit_code}\n{code}\n{output[-3000:]}'
    for word in ('Traceback (most recent call last)', ': error: '):
        assert word not in output, f'{code}\n{output[-3000:]}'


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
