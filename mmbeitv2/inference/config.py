"""Reads config files and applies the settings of ``--cfg-options``.

No large library is imported before a config is read, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from mmbeitv2 import require_openmmlab
from mmbeitv2.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

# Top-level keys that mmengine's runners and our tools read from the config, beside the arguments of the runners.
_READ_BESIDE = {
    *('activation_checkpointing', 'compile', 'efficient_conv_bn_eval', 'find_unused_parameters', 'tta_model'),
    *('init_weights_for_test_or_val', 'model_wrapper_cfg', 'runner_type', 'sync_bn', 'tta_pipeline'),
}


def read_config(path: str, cfg_options: Sequence[str] | Mapping | None = None) -> Config:
    """Reads a config file (``.py``, ``.yaml`` or ``.json``) and applies the settings of ``--cfg-options``.

    Raises:
        InputError: if the file does not exist or describes no model, or if an option does not fit it. What the code in
            a config raises is not changed.
    """
    from mmengine.config import Config

    import mmbeitv2.registry  # noqa: F401  (mmengine then knows `_base_ = 'mmbeitv2::...'`)

    if not Path(path).is_file():
        raise InputError(f'config {path!r} not found. Pass the path of a config file.')
    if Path(path).suffix not in ('.py', '.yaml', '.yml', '.json'):
        raise InputError(f'config {path!r} is no .py, .yaml or .json file. Pass the config first, then the checkpoint.')
    cfg = merge_options(Config.fromfile(path), cfg_options)
    if not isinstance(cfg.get('model'), dict):
        raise InputError(f'config {path!r} does not define a model. Pass a config file with model = dict(type=...).')
    if cfg.get('default_scope') == 'mmseg':
        try:
            require_openmmlab('mmseg')
        except ImportError as error:
            raise InputError(f'config {path!r} is a segmentation config: {error}') from None
    return cfg


def merge_options(cfg: Config, cfg_options: Sequence[str] | Mapping | None) -> Config:
    """Applies the settings of ``--cfg-options`` to a config.

    Args:
        cfg: changed in place.
        cfg_options: strings ``KEY=VALUE``, read as by mmengine's ``DictAction`` (``3``, ``1e-4``, ``True``, ``None``,
            ``[a,b]``), except that where the config holds a text, the value is a text as typed, or ``None``; or a dict
            of dotted keys and values.

    Returns:
        The config.

    Raises:
        InputError: if an option does not have the form KEY=VALUE, or names a setting that cannot exist.
    """
    if isinstance(cfg_options, Mapping):
        for key in cfg_options:
            _present(cfg, key)
        cfg.merge_from_dict(dict(cfg_options))
        return cfg
    values: dict[str, object] = {}
    for option in cfg_options or ():
        key, equals, text = option.partition('=')
        if not equals:
            raise InputError(
                f'--cfg-options {option!r} does not have the form KEY=VALUE. Write train_cfg.max_epochs=10.'
            )
        values[key] = _interpret(key, text, _present(cfg, key))
    cfg.merge_from_dict(values)
    return cfg


def scope_of(cfg: Config) -> AbstractContextManager[None]:
    """A block in which types without a scope are those of the library that a config is for."""
    from mmengine.registry import DefaultScope

    return DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain'))


def _present(cfg: Config, key: str) -> object:
    """The value at a dotted key; None if it can be added there.

    Raises:
        InputError: if nothing reads a top-level setting of this name, a variable of the file for example; if something
            above it holds no settings, or is a new group whose name is nearly that of another.
    """
    node: object = {name: cfg.get(name, {}) for name in sorted(_runner_settings())}
    settings = node
    names = key.split('.')
    for depth, name in enumerate(names):
        items = dict(enumerate(node)) if isinstance(node, list) else node if isinstance(node, dict) else {}
        known = {str(each): value for each, value in items.items()}
        if name not in known:
            # A new setting may well resemble another one (img_path, img_prefix); a new group seldom does.
            is_misspelled = get_close_matches(name, known, cutoff=0.75 if depth < len(names) - 1 else 0.94)
            if depth and isinstance(node, dict) and not is_misspelled:
                return None
            here = '.'.join(names[: depth + 1])
            same = [place for place, _ in walk_settings(settings) if place.endswith(f'.{key}')]
            near = same[:3] or get_close_matches(name, known, 3) or sorted(known)[:20] or ['.'.join(names[:depth])]
            remedy = f'Did you mean {" or ".join(map(repr, near))}?'
            raise InputError(f'--cfg-options {key}: the setting {here!r} does not exist. {remedy}')
        node = known[name]
    return node


def _interpret(key: str, text: str, present: object) -> object:
    """The value that a text stands for, see :func:`merge_options`."""
    from mmengine.config import DictAction

    if isinstance(present, str) and text != 'None':
        return text
    parser = argparse.ArgumentParser()
    parser.add_argument('--option', nargs=1, action=DictAction)
    try:
        return parser.parse_args(['--option', f'value={text}']).option['value']
    except AssertionError as error:
        raise InputError(f'--cfg-options {key}={text}: the brackets of the value do not match') from error


def _runner_settings() -> set[str]:
    """Top-level keys of a config that mmengine's runners and our tools read."""
    from mmengine.runner import FlexibleRunner, Runner

    return {*inspect.signature(Runner).parameters, *inspect.signature(FlexibleRunner).parameters, *_READ_BESIDE}


def walk_settings(node: object, key: str = '') -> Iterator[tuple[str, object]]:
    """All settings below a node of a config, with their dotted keys."""
    if key:
        yield key, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for name, child in children:
        yield from walk_settings(child, f'{key}.{name}' if key else str(name))
