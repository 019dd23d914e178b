"""Settings whose value is not of the type that a signature asks for."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_WORDS = {
    NoneType: 'None',
    bool: 'True or False',
    int: 'a whole number',
    float: 'a finite number',
    str: 'a text',
}
_KINDS = {bool: bool, int: float, float: float, str: str}  # of a default -> what is meant


def misfit(takers: Iterable[Callable], settings: Mapping[str, Any]) -> str | None:
    """A clause on the first setting that is not of its annotated type: ``img_size is [], but must be a whole number``.

    Args:
        takers: functions that take the settings; of those that know a setting the first counts.
        settings: values by name, as a config holds them: lists may stand for tuples, and dicts for objects.

    Returns:
        None if all fit. A value that is the default fits. Without an annotation, the type is that of the default if
        that is a text, a number or a boolean.
    """
    checked: set[str] = set()
    for taker in takers:
        parameters = _parameters(taker)
        for name in settings.keys() & parameters.keys() - checked:
            value, (annotation, default) = settings[name], parameters[name]
            if not _fits(value, annotation) and value is not default and value != default:
                return f'{name} is {value!r}, but must be {_words(annotation)}'
        checked |= parameters.keys()
    return None


def _parameters(taker: Callable) -> dict[str, tuple[Any, Any]]:
    """Annotation, or type of the default, and default of each parameter that has one of them."""
    try:
        hints, parameters = get_type_hints(taker), inspect.signature(taker).parameters
    except (NameError, TypeError, ValueError):  # names that are imported for type checkers only; no Python function
        return {}
    return {
        name: (hints.get(name, _KINDS.get(type(parameter.default), Any)), parameter.default)
        for name, parameter in parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }


def _fits(value: Any, annotation: Any) -> bool:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is Literal:
        return any(value == allowed and type(value) is type(allowed) for allowed in arguments)
    kind = origin or annotation
    if not inspect.isclass(kind) or kind in (Any, object):  # Any is a class, too
        return True
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if kind is str:
        return isinstance(value, (str, Path))
    if kind is dict:
        return isinstance(value, Mapping)
    if issubclass(kind, Collection) and not issubclass(kind, Mapping):
        element = arguments[0] if arguments else Any
        return isinstance(value, (list, tuple)) and all(_fits(each, element) for each in value)
    return isinstance(value, (kind, Mapping)) or callable(value)


def _words(annotation: Any) -> str:
    """An annotation in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return ' or '.join(dict.fromkeys(_words(argument) for argument in arguments))
    if origin is Literal:
        return f'one of {", ".join(map(repr, arguments))}'
    kind = origin or annotation
    if kind in _WORDS:
        return _WORDS[kind]
    if inspect.isclass(kind) and issubclass(kind, Mapping):
        return 'a group of settings'
    if inspect.isclass(kind) and issubclass(kind, Collection):
        element = arguments[0] if arguments else Any
        return f'a list (of each {_words(element)})' if element in _WORDS else 'a list'
    return f'a {getattr(kind, "__name__", kind)}'
