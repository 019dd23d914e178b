"""Reads config files and applies the settings of ``--cfg-options``.

No large library is imported before a config is read, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mmbeitv2 import require_openmmlab
from mmbeitv2.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

# Keys whose value is a file, a folder, or a name of one: a text for them is never a number or a list.
_PATH_KEY = re.compile(
    r'(.*_)?(dir|file|path|prefix|root)|checkpoint|filename|img_path|load_from|pretrained|seg_map_path'
)
_CONSTANTS = {'None': None, 'True': True, 'False': False}
# Top-level keys that mmengine's runners read from the config by themselves, beside their arguments.
_READ_BY_RUNNERS = {
    'activation_checkpointing',
    'compile',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'init_weights_for_test_or_val',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
}
_ABSENT = object()


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--cfg-options KEY=VALUE ...``; :func:`merge_options` interprets it once the config is known."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. train_dataloader.batch_size=64 or val_dataloader=None',
    )


def read_config(path: str, cfg_options: Sequence[str] | dict | None = None) -> Config:
    """Reads a config file and applies the settings of ``--cfg-options``.

    Args:
        path: a config of OpenMMLab: ``.py``, ``.yaml`` or ``.json``.
        cfg_options: see :func:`merge_options`. An option may also set a variable that the file declares, for example
            ``data_root = '{{$data_root:data/own}}'``.

    Raises:
        InputError: if the file cannot be read, describes no model, or has a misspelled top-level key, or if an option
            does not fit it.
    """
    from mmengine.config import Config

    import mmbeitv2.registry  # noqa: F401  (mmengine then knows `_base_ = 'mmbeitv2::...'`)

    if not Path(path).exists():
        raise InputError(f'config {path!r} not found. Check the path.')
    if Path(path).is_dir():
        raise InputError(f'config {path!r} is a folder. Pass the path of a config file.')
    if Path(path).suffix not in ('.py', '.yaml', '.yml', '.json'):
        raise InputError(f'config {path!r} is not a config file. The name of a config ends in .py, .yaml or .json.')
    try:
        with _in_environment(cfg_options):
            cfg = Config.fromfile(path)
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f'config {error.filename or path!r} cannot be read: permission denied') from error
    except Exception as error:  # whatever the code in a config raises
        raise InputError(_reason(path, error)) from error
    _check_spelling(cfg, path)
    if not isinstance(cfg.get('model'), dict):
        raise InputError(f'config {path!r} does not define a model. Pass a config file with model = dict(type=...).')
    if cfg.get('default_scope') == 'mmseg':
        try:
            require_openmmlab('mmseg')
        except ImportError as error:
            raise InputError(f'config {path!r} is a segmentation config: {error}') from None
    used = set(cfg.env_variables)
    if not isinstance(cfg_options, dict):
        return merge_options(cfg, [option for option in cfg_options or () if _split(option)[0] not in used])
    return merge_options(cfg, {key: value for key, value in cfg_options.items() if key not in used})


@contextmanager
def _in_environment(cfg_options: Sequence[str] | dict | None) -> Iterator[None]:
    """Sets options that name a variable of the file as environment variables, for mmengine's ``'{{$NAME:default}}'``.

    The file uses its variables while it is read, so an option that is merged afterwards would have no effect.
    """
    options = cfg_options if isinstance(cfg_options, dict) else dict(map(_split, cfg_options or ()))
    variables = {key: str(value) for key, value in options.items() if '.' not in key and key not in known_keys()}
    former = {key: os.environ.get(key) for key in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for key, value in former.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value


def merge_options(cfg: Config, cfg_options: Sequence[str] | dict | None) -> Config:
    """Applies the settings of ``--cfg-options`` to a config.

    Args:
        cfg: changed in place.
        cfg_options: strings ``KEY=VALUE``, or a dict of dotted keys and values, which are used unchanged. The value of
            a string is parsed like mmengine's ``DictAction`` does (numbers, booleans, None, lists and tuples), except
            where the config holds a string, or the key names a file or folder: there it is used as typed, with commas,
            spaces and digits. ``None`` always means None; a folder of that name is written ``./None``.

    Returns:
        The config.

    Raises:
        InputError: if an option does not have the form KEY=VALUE, names a setting that cannot exist, or replaces a
            group of settings by a single value.
    """
    if not isinstance(cfg_options, dict | list | tuple | None):
        raise InputError(f'cfg_options is {cfg_options!r}. It must be a list of strings KEY=VALUE, or a dict.')
    options = cfg_options if isinstance(cfg_options, dict) else dict(map(_split, cfg_options or ()))
    values = {}
    for key, given in options.items():
        present = _find(cfg, key)
        _check_effect(cfg, key)
        value = _interpret(key, given, present) if options is not cfg_options else given
        _check_replacement(key, value, present)
        values[key] = value
    try:
        cfg.merge_from_dict(values)
    except (KeyError, TypeError) as error:  # options that contradict one another, as a=None and a.b=1
        raise InputError(f'--cfg-options {" ".join(values)} contradict each other. Leave one of them out.') from error
    return cfg


def _split(option: str) -> tuple[str, str]:
    key, equals, text = option.partition('=')
    if not equals or not all(key.split('.')):
        raise InputError(
            f'--cfg-options {option!r} does not have the form KEY=VALUE. Write a setting and its value, for '
            'example train_cfg.max_epochs=10.'
        )
    return key, text


def _find(cfg: Config, key: str) -> object:
    """The value at a dotted key, ``_ABSENT`` if it can be added there.

    Raises:
        InputError: if the key leads through a single value, or beyond the end of a list.
    """
    node: object = cfg._cfg_dict
    names = key.split('.')
    for depth, name in enumerate(names):
        above = '.'.join(names[:depth])
        if isinstance(node, dict):
            node = node.get(name, _ABSENT)
            if node is _ABSENT:
                return node
        elif isinstance(node, list):
            if not name.isdigit() or int(name) >= len(node):
                raise InputError(
                    f'--cfg-options {key}: {above} is a list of {len(node)} entries, counted from 0, and has no '
                    f'entry {name!r}'
                )
            node = node[int(name)]
        else:
            raise InputError(f'--cfg-options {key}: {above} is {node!r} in this config, not a group of settings')
    return node


def _interpret(key: str, text: str, present: object) -> object:
    """The value that a text stands for, see :func:`merge_options`."""
    from mmengine.config import DictAction

    if len(text) > 1 and text[0] == text[-1] and text[0] in '\'"':  # quotes that outlived the shell
        text = text[1:-1]
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    name = key.rpartition('.')[2]
    if _PATH_KEY.fullmatch(name):
        return text
    if isinstance(present, str) and not (text.startswith('[') and text.endswith(']')):
        return text
    parser = argparse.ArgumentParser()
    parser.add_argument('--option', nargs=1, action=DictAction)
    try:
        value = parser.parse_args(['--option', f'value={text}']).option['value']
    except AssertionError:
        value = text
    if isinstance(value, str) and (value.startswith(('[', '(')) or (value is text and ',' in text)):
        raise InputError(f'--cfg-options {key}={text}: the brackets of the value do not match')
    return value


def _check_replacement(key: str, value: object, present: object) -> None:
    """Groups of settings are not replaced by a number or a name by mistake."""
    if value is None or isinstance(value, dict):
        return
    if isinstance(present, dict):
        if 'type' not in present and '.' in key and isinstance(value, str):  # arch=dict(...) -> arch=base
            return
        inside = f'{key}.{next(iter(present), "type")}'
        raise InputError(
            f'--cfg-options {key}={value}: {key} is a group of settings in this config. Set one of them, for example '
            f'{inside}=VALUE, or write {key}=None to leave the group out.'
        )
    if isinstance(present, list) and any(isinstance(entry, dict) for entry in present) and value != []:
        raise InputError(
            f'--cfg-options {key}={value}: {key} is a list of {len(present)} groups of settings in this config. Set '
            f'one of them, for example {key}.0.type=VALUE, or write {key}=[] to leave all of them out.'
        )


@cache
def known_keys() -> frozenset[str]:
    """Top-level keys of a config that mmengine's runners read."""
    from mmengine.runner import FlexibleRunner, Runner

    arguments = set(inspect.signature(Runner).parameters) | set(inspect.signature(FlexibleRunner).parameters)
    return frozenset(arguments - {'cfg'} | _READ_BY_RUNNERS)


def _check_effect(cfg: Config, key: str) -> None:
    """An option whose top-level key nobody reads is a mistake."""
    name, dot, rest = key.partition('.')
    if name in known_keys():
        return
    if name in cfg:
        holders = [holder + dot + rest for holder in _holders(cfg, name)]
        remedy = f'Set {" and ".join(holders[:4])} instead' if holders else 'Change it in the file instead'
        raise InputError(
            f'--cfg-options {key}: {name!r} is a variable of {cfg.filename!r} that was used while the file was read; '
            f'changing it now has no effect. {remedy}'
        )
    raise InputError(f'--cfg-options {key}: the setting {name!r} does not exist. {nearest(name, known_keys())}')


def _check_spelling(cfg: Config, path: str) -> None:
    """A top-level key of the file that nothing uses, and is nearly that of a known one, is misspelled."""
    targets = known_keys() | {'custom_imports'}
    for name in cfg:
        near = get_close_matches(name, targets, 1, cutoff=0.85)
        if name not in targets and near and not any(_holders(cfg, name)):
            raise InputError(f'config {path!r}: the setting {name!r} does not exist. Did you mean {near[0]!r}?')


def nearest(name: str, known: Sequence[str] | frozenset[str]) -> str:
    """A sentence that suggests the known names that are closest to an unknown one."""
    near = get_close_matches(name, known, 3)
    if near:
        return f'Did you mean {" or ".join(map(repr, near))}?'
    return f'Choose from {", ".join(sorted(known))}'


def _holders(cfg: Config, variable: str) -> list[str]:
    """Dotted keys of settings that hold the value of a variable of the config file, or begin with it."""
    value = cfg[variable]
    found = []
    for key, held in walk_settings({name: cfg[name] for name in cfg if name in known_keys()}):
        is_same_name = key.rpartition('.')[2] == variable
        is_telling = bool(value) and not isinstance(value, bool)
        is_below = isinstance(held, str) and isinstance(value, str) and held.startswith(value)
        if type(held) is type(value) and (is_same_name or is_telling) and (held == value or is_below):
            found.append(key)
    return sorted(found, key=lambda key: key.rpartition('.')[2] != variable)


def walk_settings(node: object, key: str = '') -> Iterator[tuple[str, object]]:
    """All settings below a node of a config, with their dotted keys."""
    if key:
        yield key, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for name, child in children:
        yield from walk_settings(child, f'{key}.{name}' if key else str(name))


def _reason(path: str, error: Exception) -> str:
    """One sentence on why a config could not be read, with the file and line where it went wrong."""
    file, line = path, getattr(error, 'lineno', None)
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == file:  # the code in the config
            line = number
        elif frame.f_globals.get('__name__', '').startswith('mmengine.config'):
            file = frame.f_locals.get('filename', file)
    if isinstance(error, FileNotFoundError) and Path(file).resolve() != Path(path).resolve():
        return f'config {path!r} inherits from {file!r}, which does not exist. Correct its _base_.'
    base = '' if Path(file).resolve() == Path(path).resolve() else f'its base {file!r} '
    reason = error.msg if isinstance(error, SyntaxError) else f'{type(error).__name__}: {" ".join(str(error).split())}'
    return f'config {path!r} cannot be read: {base}{f"line {line}: " if line else ""}{reason}'
