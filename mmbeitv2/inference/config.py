"""Reads config files and applies the settings of ``--cfg-options``.

No large library is imported before a config is read, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mmbeitv2 import require_openmmlab
from mmbeitv2.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

# Keys whose value is a file, a folder, or a name of one.
_PATH_KEY = re.compile(
    r'(.*_)?(dir|file|path|prefix|root)|checkpoint|filename|img_path|load_from|pretrained|seg_map_path'
)
# Top-level keys that mmengine's runners and our tools read from the config, beside the arguments of the runners.
_READ_BESIDE = {
    *('activation_checkpointing', 'compile', 'efficient_conv_bn_eval', 'find_unused_parameters', 'tta_model'),
    *('init_weights_for_test_or_val', 'model_wrapper_cfg', 'runner_type', 'sync_bn', 'tta_pipeline'),
}


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--cfg-options KEY=VALUE ...``; :func:`merge_options` interprets it once the config is known."""
    what = 'override settings of the config, e.g. train_dataloader.batch_size=64 or val_dataloader=None'
    parser.add_argument('--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help=what)


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
    cfg = Config.fromfile(path)
    if not isinstance(cfg.get('model'), dict):
        raise InputError(f'config {path!r} does not define a model. Pass a config file with model = dict(type=...).')
    if cfg.get('default_scope') == 'mmseg':
        try:
            require_openmmlab('mmseg')
        except ImportError as error:
            raise InputError(f'config {path!r} is a segmentation config: {error}') from None
    return merge_options(cfg, cfg_options)


def merge_options(cfg: Config, cfg_options: Sequence[str] | Mapping | None) -> Config:
    """Applies the settings of ``--cfg-options`` to a config.

    A variable of the file, such as ``data_root``, is set wherever a setting of the same name holds its value; texts
    that begin with its value and a slash get the new beginning.

    Args:
        cfg: changed in place.
        cfg_options: strings ``KEY=VALUE``; or dotted keys and values, which are used unchanged. A string's value is
            read as by mmengine's ``DictAction`` (``3``, ``1e-4``, ``True``, ``None``, ``[a,b]``), with one exception:
            where the config holds a text, or the key names a file or folder, it is a text as typed, with commas,
            quotes, backslashes and line breaks; only ``None`` means None, and for other texts ``[...]`` a list. It is
            never evaluated.

    Returns:
        The config.

    Raises:
        InputError: if an option does not have the form KEY=VALUE, or names a setting that cannot exist.
    """
    is_typed = not isinstance(cfg_options, Mapping)
    options = cfg_options if isinstance(cfg_options, Mapping) else dict(map(_split, cfg_options or ()))
    values: dict[str, object] = {}
    for key, given in options.items():
        present = _present(cfg, key)
        value = _interpret(key, given, present) if is_typed else given
        values |= {key: value, **_uses(cfg, key, present, value)}
    cfg.merge_from_dict(values)
    return cfg


def scope_of(cfg: Config) -> AbstractContextManager[None]:
    """A block in which types without a scope are those of the library that a config is for."""
    from mmengine.registry import DefaultScope

    return DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain'))


def _split(option: str) -> tuple[str, str]:
    key, equals, text = option.partition('=')
    if not equals or not all(key.split('.')):
        raise InputError(f'--cfg-options {option!r} does not have the form KEY=VALUE. Write train_cfg.max_epochs=10.')
    return key, text


def _uses(cfg: Config, key: str, present: object, value: object) -> dict[str, object]:
    """The settings that hold a variable of the file, or a text that begins with it, and what they become."""
    name, dot, rest = key.partition('.')
    known = runner_settings()
    if name in known:
        return {}
    if name not in cfg:
        raise InputError(f'--cfg-options {key}: the setting {name!r} does not exist. {nearest(name, known)}')
    uses: dict[str, object] = {}
    for held, text in walk_settings({section: cfg[section] for section in cfg if section in known}):
        last = held.rpartition('.')[2]
        if last == name and text == cfg[name]:
            uses[held + dot + rest] = value
        elif isinstance(text, str) and isinstance(present, str):
            is_same_path = text == present and _PATH_KEY.fullmatch(name) and _PATH_KEY.fullmatch(last)
            if is_same_path or text.startswith(f'{present}/'):
                uses[held] = f'{value}{text.removeprefix(present)}'
    if not uses:
        raise InputError(
            f'--cfg-options {key}: {name!r} is a variable of {cfg.filename!r} that was used while the file was read, '
            'and changing it now has no effect. Set what was made of it, or change it in the file.'
        )
    return uses


def _present(cfg: Config, key: str) -> object:
    """The value at a dotted key; None if it can be added there.

    Raises:
        InputError: if something above it holds no settings, or is a new group whose name is nearly that of another.
    """
    node: object = cfg._cfg_dict
    names = key.split('.')
    for depth, name in enumerate(names):
        items = dict(enumerate(node)) if isinstance(node, list) else node if isinstance(node, dict) else {}
        known = {str(each): value for each, value in items.items()}
        if name not in known:
            is_misspelled = 0 < depth < len(names) - 1 and get_close_matches(name, known, cutoff=0.75)
            if isinstance(node, dict) and not is_misspelled:
                return None
            here = '.'.join(names[: depth + 1])
            raise InputError(f'--cfg-options {key}: the setting {here!r} does not exist. {nearest(name, known)}')
        node = known[name]
    return node


def _interpret(key: str, text: str, present: object) -> object:
    """The value that a text stands for, see :func:`merge_options`."""
    from mmengine.config import DictAction

    if len(text) > 1 and text[0] == text[-1] and text[0] in '\'"':  # quotes that outlived the shell
        text = text[1:-1]
    if text == 'None':
        return None
    is_list = text.startswith('[') and text.endswith(']')
    if _PATH_KEY.fullmatch(key.rpartition('.')[2]) or (isinstance(present, str) and not is_list):
        return text
    parser = argparse.ArgumentParser()
    parser.add_argument('--option', nargs=1, action=DictAction)
    try:
        value = parser.parse_args(['--option', f'value={text}']).option['value']
    except AssertionError as error:
        raise InputError(f'--cfg-options {key}={text}: the brackets of the value do not match') from error
    return text if isinstance(value, str) else value  # DictAction takes the blanks away


@cache
def runner_settings() -> frozenset[str]:
    """Top-level keys of a config that mmengine's runners and our tools read."""
    from mmengine.runner import FlexibleRunner, Runner

    arguments = {*inspect.signature(Runner).parameters, *inspect.signature(FlexibleRunner).parameters}
    return frozenset(arguments - {'cfg'} | _READ_BESIDE)


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that suggests the known names that are closest to an unknown one."""
    near = get_close_matches(name, list(known), 3) or sorted(known)[:20]
    return f'Did you mean {" or ".join(map(repr, near))}?' if near else 'The setting above it holds no settings.'


def walk_settings(node: object, key: str = '') -> Iterator[tuple[str, object]]:
    """All settings below a node of a config, with their dotted keys."""
    if key:
        yield key, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for name, child in children:
        yield from walk_settings(child, f'{key}.{name}' if key else str(name))
