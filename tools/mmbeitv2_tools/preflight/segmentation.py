"""Checks of settings of mmseg's components, which mmseg itself reports late or with a traceback."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS

from mmbeitv2.errors import InputError
from mmbeitv2.inference.config import nearest

_METRICS = ('mIoU', 'mDice', 'mFscore')
_MODES = ('slide', 'whole', 'slide_flip')  # the last is that of mmseg's depth estimators


def _is_whole(value: object, low: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= low


def _is_pair(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(_is_whole(each, 1) for each in value)


def _is_size(value: object) -> bool:
    return _is_whole(value, 1) or _is_pair(value)


def _is_share(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and float(value) < 1  # mmseg: none if not above 0


def _is_class_list(value: object) -> bool:
    if isinstance(value, str):  # mmengine reads the names from a file, and else takes each letter for a class
        return Path(value).is_file()
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)


def _is_palette(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(color, (list, tuple)) for color in value)


def _are_metrics(value: object) -> bool:
    names = [value] if isinstance(value, str) else value
    return isinstance(names, (list, tuple)) and bool(names) and all(name in _METRICS for name in names)


_HEAD = r'model\.(decode_head|auxiliary_head)(\.\d+)?'
_PAIR = 'a list of two whole numbers of at least 1, (height, width)'
# Pattern of a dotted key; what holds for its value; the same in words. None is what most components take for "not set".
_RULES: tuple[tuple[re.Pattern, Callable[[object], object], str], ...] = tuple(
    (re.compile(pattern), holds, words)
    for pattern, holds, words in (
        (rf'{_HEAD}\.channels', lambda value: _is_whole(value, 1), 'a whole number of at least 1'),
        (rf'{_HEAD}\.kernel_size', _is_size, f'a whole number of at least 1, or {_PAIR}'),
        (rf'{_HEAD}\.num_convs', lambda value: _is_whole(value, 0), 'a whole number of at least 0'),
        (rf'{_HEAD}\.ignore_index', lambda value: isinstance(value, int), 'a whole number'),
        (rf'{_HEAD}\.dropout_ratio', _is_share, 'a number below 1'),
        (rf'{_HEAD}\.loss_decode', lambda value: isinstance(value, (dict, list, tuple)), 'a component, dict(type=...)'),
        (
            r'model\..+\.align_corners|.*dataset\.reduce_zero_label|model\..*norm_cfg\.requires_grad',
            lambda value: isinstance(value, bool),
            'True or False',
        ),
        (r'(model\.)?data_preprocessor\.size', _is_pair, _PAIR),
        (r'\w+_dataloader\..*pipeline\.\d+\.crop_size', _is_size, f'a whole number of at least 1, or {_PAIR}'),
        (r'\w+_dataloader\..*pipeline\.\d+\.cat_max_ratio', lambda value: isinstance(value, (int, float)), 'a number'),
        (r'.*dataset\.metainfo\.classes', _is_class_list, 'a list of names, or a text file with one name per line'),
        (r'.*dataset\.metainfo\.palette', _is_palette, 'a list of colors, each [red, green, blue]'),
        (r'.*dataset\.data_prefix\.\w+', lambda value: isinstance(value, (str, Path)), 'the path of a folder'),
        (r'(val|test)_evaluator(\.\d+)?\.iou_metrics', _are_metrics, f'a list of some of {", ".join(_METRICS)}'),
        (r'(val|test)_evaluator(\.\d+)?\.ignore_index', lambda value: isinstance(value, int), 'a whole number'),
        (r'model\.test_cfg\.mode', lambda value: value in _MODES, f'one of {", ".join(_MODES)}'),
    )
)
_LAYER = re.compile(r'model\..*(norm_cfg|conv_cfg|act_cfg)\.type')
_MAY_BE_NONE = re.compile(r'.*\.(size|reduce_zero_label|palette|classes)')


def check_segmentation(cfg: Config, settings: Iterable[tuple[str, object]]) -> None:
    """Checks the values of a segmentation config.

    Args:
        cfg: of the run.
        settings: all of the config's settings, by their dotted keys.

    Raises:
        InputError: with the first setting that is wrong, its value, and what it may be.
    """
    for key, value in settings:
        for pattern, holds, words in _RULES:
            if pattern.fullmatch(key) and not holds(value) and not (value is None and _MAY_BE_NONE.fullmatch(key)):
                raise InputError(f'{key} is {value!r} in {cfg.filename!r}: it must be {words}')
        if _LAYER.fullmatch(key) and isinstance(value, str):
            _check_layer(cfg, key, value)
    test_cfg = cfg.model.get('test_cfg') or {}
    for name in ('crop_size', 'stride') if test_cfg.get('mode') == 'slide' else ():
        if not _is_pair(value := test_cfg.get(name)):
            raise InputError(
                f"model.test_cfg.{name} is {value!r} in {cfg.filename!r}: with mode='slide' it must be {_PAIR}"
            )


def _check_layer(cfg: Config, key: str, name: str) -> None:
    """Checks the type of a layer, because mmcv's own message does not name an unknown one."""
    with MODELS.switch_scope_and_registry('mmseg') as registry:
        if registry.get(name) is None:
            raise InputError(
                f'{key} is {name!r} in {cfg.filename!r}, but no such component exists. '
                f'{nearest(name, frozenset(MODELS.module_dict))}'
            )
