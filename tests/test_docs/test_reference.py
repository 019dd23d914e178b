"""The reference names everything: what a person imports, what a config names, every tool."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest
from mmengine.registry import Registry

import mmbeitv2.apis
from mmbeitv2 import registry
from tests.conftest import ROOT

PAGES = sorted((ROOT / 'docs' / 'reference').glob('*.md'))
DOCUMENTED = {
    name
    for page in PAGES
    for name in re.findall(r'^\.\. auto(?:class|function|exception):: mmbeitv2\.(\S+)$', page.read_text(), re.MULTILINE)
}


def test_all_that_a_person_imports_is_in_the_reference() -> None:
    assert {f'apis.{name}' for name in mmbeitv2.apis.__all__} <= DOCUMENTED
    for package in 'checkpoints', 'datasets', 'engine', 'evaluation', 'models':
        module = importlib.import_module(f'mmbeitv2.{package}')
        public = {name for name in module.__all__ if not name.isupper() or name == 'VQKD'}
        assert public <= {name.rpartition('.')[2] for name in DOCUMENTED}, package


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
    assert registered - {name.rpartition('.')[2] for name in DOCUMENTED} == set()


def test_what_is_in_the_reference_exists() -> None:
    for name in DOCUMENTED:
        module, _, attribute = f'mmbeitv2.{name}'.rpartition('.')
        assert hasattr(importlib.import_module(module), attribute), name


def test_generated_pages_are_current_and_name_every_tool() -> None:
    done = subprocess.run(
        [sys.executable, 'docs/generate.py', '--check'], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    sys.path.insert(0, str(ROOT / 'docs'))
    try:
        generate = importlib.import_module('generate')
    finally:
        sys.path.pop(0)
    shown = {tool for tools in generate.TOOLS.values() for tool in tools}
    tools = {path.name for path in (ROOT / 'tools').iterdir() if path.suffix in ('.py', '.sh')}
    assert tools == shown | set(generate.INTERNAL)


def test_examples_in_the_reference_of_the_tools_are_commands() -> None:
    page = (ROOT / 'docs' / 'reference' / 'tools.md').read_text()
    examples = re.findall(r'^```text\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    assert len(examples) > 30
    for line in '\n'.join(examples).split('\n'):
        assert re.match(r'(python |bash |GPUS=\d+ )?tools/|$', line), line


@pytest.mark.parametrize('option', ['--cfg-options', '--resume', '--allow-changes', '--pixel-decoder', '--json'])
def test_the_reference_of_the_tools_has_their_options(option: str) -> None:
    assert f'| `{option}' in (ROOT / 'docs' / 'reference' / 'tools.md').read_text()
