"""Every command and snippet of the documentation works; README.md of this folder explains the markers."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, Registry

from mmbeitv2 import registry
from mmbeitv2.inference.config import walk_settings
from tests.conftest import ROOT
from tests.test_docs.blocks import Block, blocks_of, pages
from tests.test_docs.forks import run_bash, run_program
from tests.test_docs.scratch import make_images, make_scratch
from tests.test_docs.tiny import Weights, command_line, everything_tiny, without_weights
from tests.test_interop.conftest import process_of_its_own

# Imported before a program is forked; with them, almost everything that a tool needs.
PACKAGES = ('matplotlib.pyplot', 'mmpretrain.apis', 'mmseg.apis', 'mmbeitv2_tools.testing', 'mmbeitv2_tools.training')
REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry)]
BLOCKS = [block for page in pages() for block in blocks_of(page)]


@pytest.fixture(scope='session')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    for name in PACKAGES:
        importlib.import_module(name)
    return Weights(tmp_path_factory.mktemp('weights'))


@pytest.fixture(scope='session')
def scratch_of(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Callable[[str], tuple[Path, dict]]:
    """The scratch folder of a page, and the variables of its python blocks."""
    images = tmp_path_factory.mktemp('images')
    make_images(images)

    @cache
    def make(page: str) -> tuple[Path, dict]:
        folder = tmp_path_factory.mktemp(Path(page).stem)
        make_scratch(folder, images, weights)
        return folder, {'__name__': '__main__'}

    return make


def test_every_block_has_a_marker() -> None:
    assert {block.language for block in BLOCKS} == {'bash', 'python'}
    unmarked = [block.place for block in BLOCKS if not block.kind]
    assert not unmarked, 'write <!-- run: --> or <!-- not run: ... --> above these'
    reasonless = [block.place for block in BLOCKS if block.kind == 'not run' and len(block.text.split()) < 3]
    assert not reasonless, 'say in one sentence why these are not run'


@pytest.mark.parametrize('block', [block for block in BLOCKS if block.kind == 'run'], ids=lambda block: block.place)
def test_block_runs(
    block: Block,
    scratch_of: Callable[[str], tuple[Path, dict]],
    weights: Weights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if '$MMSEG/analysis_tools' in block.code and mmseg.__version__ < '1.3':
        pytest.skip('mmsegmentation 1.2 draws with OpenCV 4 and counts with an older mmengine only')
    folder, variables = scratch_of(block.page)
    code = block.code_to_run()
    monkeypatch.chdir(folder)
    for path in block.values_of('made'):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(weights.of_run(path), path)
    tiny = everything_tiny(weights) if block.values_of('tiny') else contextlib.nullcontext()
    if block.language == 'bash':
        _run_bash(code, folder, tiny, bool(block.values_of('tiny')))
        return
    with process_of_its_own('python'), tiny:
        if config := block.values_of('config'):
            _read_config(code, Path(config[0] or 'snippet.py'), *block.values_of('base'))
        else:
            exec(compile(code, block.place, 'exec'), variables)


def _run_bash(code: str, folder: Path, tiny: contextlib.AbstractContextManager, is_tiny: bool) -> None:
    environment = dict(PYTHONPATH=str(ROOT), TORCH_HOME=str(folder / '.torch'))

    def program(argv: list[str]) -> None:
        with tiny:
            run_program(command_line(argv) if is_tiny else argv)

    exit_code, output = run_bash(code, folder, environment, program)
    assert exit_code == 0, f'exit code {exit_code}\n{code}\n{output[-3000:]}'
    for word in ('Traceback (most recent call last)', ': error: '):
        assert word not in output, f'{code}\n{output[-3000:]}'


def _read_config(code: str, path: Path, base: str = '') -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((f'_base_ = {os.path.abspath(base)!r}\n' if base else '') + code)
    cfg = Config.fromfile(str(path))
    for key, value in walk_settings({key: cfg[key] for key in cfg}):
        if key.endswith('type') and isinstance(value, str) and value.startswith('mmbeitv2.'):
            assert any(kind.get(value) for kind in REGISTRIES), f'{key} = {value!r} is not registered'
    model = cfg.get('model') or {}
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        for part in [model] if 'type' in model else model.values():
            if isinstance(part, dict) and 'type' in part:
                MODELS.build(without_weights(part))
