"""The tables of settings in docs/configs.md name settings that exist, with their defaults."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine import registry
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmbeitv2.apis import read_config
from tests.conftest import ROOT

PAGE = ROOT / 'docs' / 'configs.md'
_MARKER = re.compile(r'<!-- settings: (\S+) -->')
_ROW = re.compile(r'\| `([\w.]+)` \| (.+?) \|')
_REGISTRIES = [value for value in vars(registry).values() if isinstance(value, registry.Registry)]


def rows() -> Iterator[tuple[str, str, str]]:
    """Config, key and default of each row of a table below a marker."""
    config = None
    for line in PAGE.read_text().splitlines():
        if marker := _MARKER.match(line):
            config = marker[1]
        elif config and (row := _ROW.match(line)):
            yield config, row[1], row[2]
        elif line and not line.startswith('|'):
            config = None


@pytest.mark.parametrize('config', sorted({config for config, _, _ in rows()}))
def test_settings_of_the_tables_exist_and_have_these_defaults(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'data' / 'own').mkdir(parents=True)
    (tmp_path / 'data' / 'own' / 'classes.txt').write_text('sky\n')
    monkeypatch.chdir(tmp_path)
    cfg = read_config(str(ROOT / config))
    for page_config, key, default in rows():
        if page_config == config:
            assert value_of(cfg, key) == ast.literal_eval(default.strip('`')), key


def value_of(cfg: Config, key: str) -> Any:
    """The value of a setting: from the config, or else the default of the component that has it.

    Raises:
        KeyError: if there is no such setting.
    """
    node: Any = cfg
    names = key.split('.')
    for place, name in enumerate(names):
        if isinstance(node, list | tuple):
            node = node[int(name)]
        elif name in node:
            node = node[name]
        else:
            assert place == len(names) - 1, f'{key}: there is no {name}'
            return default_of(node, name, cfg)
    return node


def default_of(node: dict, name: str, cfg: Config) -> Any:
    kind = node['type']
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        found = next(cls for each in _REGISTRIES if (cls := each.get(kind)) is not None)
    for cls in inspect.getmro(found):
        init = vars(cls).get('__init__')
        parameter = inspect.signature(init).parameters.get(name) if inspect.isfunction(init) else None
        if parameter is not None:
            return parameter.default
    raise KeyError(f'{kind} has no setting {name}')
