"""The reference names everything (what one imports, what a config names, every tool), and pages name real tests."""

from __future__ import annotations

import importlib
import re

import pytest
from mmengine.registry import Registry

from mmbeitv2 import registry
from tests.conftest import ROOT
from tests.test_docs.blocks import pages

ROOMS = re.findall(
    r'^\.\. automodule:: mmbeitv2\.([\w.]+)$',
    '\n'.join(page.read_text() for page in (ROOT / 'docs' / 'reference').glob('*.md')),
    re.MULTILINE,
)
DOCUMENTED = {name for room in ROOMS for name in getattr(importlib.import_module(f'mmbeitv2.{room}'), '__all__', ())}


def test_every_room_has_a_page() -> None:
    rooms = {
        path.stem for path in (ROOT / 'mmbeitv2').iterdir() if path.suffix == '.py' or (path / '__init__.py').exists()
    }
    assert rooms - {'__init__', 'registry', 'version', 'fileio'} == {room for room in ROOMS if '.' not in room}


def test_all_that_a_config_names_is_in_the_reference() -> None:
    registered = {
        name: kind
        for kind, found in vars(registry).items()
        if isinstance(found, Registry)
        for name, value in (found.import_from_location(), found.module_dict)[1].items()
        if value.__module__.startswith('mmbeitv2.')
    }
    # Names of this package's loaders that OpenMMLab's inferencers look for; they are LoadImage and LoadSegLabels.
    registered = {name for name in registered if name not in ('LoadImageFromFile', 'LoadAnnotations')}
    assert len(registered) > 40
    assert registered - DOCUMENTED == set()


def test_tests_that_a_page_names_exist() -> None:
    named = {name for page in pages() for name in re.findall(r'`(tests/[\w/]+\.py)::(\w+)', page.read_text())}
    assert len(named) > 20
    assert not [name for file, name in named if f'def {name}(' not in (ROOT / file).read_text()]


def test_generated_pages_are_current_and_name_every_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / 'docs'))
    generate = importlib.import_module('generate')
    outdated = [path.name for path, text in generate.generated().items() if path.read_text(encoding='utf-8') != text]
    assert not outdated, 'run python docs/generate.py'
    shown = {tool for tools in generate.TOOLS.values() for tool in tools}
    tools = {path.name for path in (ROOT / 'tools').iterdir() if path.suffix in ('.py', '.sh')}
    assert tools == shown | set(generate.INTERNAL)
