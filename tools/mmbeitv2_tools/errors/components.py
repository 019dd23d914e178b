"""Mistakes in the settings of a component, found in the frames of mmengine's registry."""

from __future__ import annotations

import difflib
import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from mmbeitv2_tools.errors.annotations import misfit

# The part of mmengine that builds from a config.
_BUILDER = 'build_functions.py'


@dataclass(frozen=True)
class Component:
    """What mmengine was building from a config when an error came up.

    Args:
        name: its type in the config.
        cls: class or function, None if the name is not registered.
        registry: mmengine's registry that was asked.
        config: its settings.
    """

    name: str
    cls: Any
    registry: Any
    config: Mapping[str, Any]

    @classmethod
    def of(cls, error: BaseException) -> Component | None:
        """The innermost component that was being built, from the frames of the traceback."""
        found = None
        step: TracebackType | None = error.__traceback__
        while step is not None:
            code, values = step.tb_frame.f_code, step.tb_frame.f_locals
            if code.co_name.startswith('build_') and code.co_filename.endswith(_BUILDER):
                kind = values.get('obj_type') or values.get('runner_type')
                name = kind if isinstance(kind, str) else getattr(kind, '__name__', None)
                if name is not None:
                    built = values.get('obj_cls') or values.get('runner_cls')
                    found = cls(name, built, values.get('registry'), values.get('cfg') or {})
            step = step.tb_next
        return found

    def mistake(self, error: BaseException, message: str) -> str | None:
        """A sentence for what people mistype: types, names and values of settings; None for any other error.

        A ValueError or an assertion in the component's own module is its refusal of a value: the message is enough.
        """
        if isinstance(error, KeyError) and re.match(r'\S+ is not in the .+ registry', message):
            near = _suggestion(self.name, self._registered())
            return f'{self.registry.name} {self.name!r} does not exist. Correct its type{near}.'
        if self.cls is None:
            return None
        if 'must contain the key "type"' in message:
            return f'a part of {self.name} has no type. Write it as dict(type=...).'
        unexpected = re.search(r"got an unexpected keyword argument '(\w+)'", message)
        if unexpected and unexpected[1] in self.config:
            near = _suggestion(unexpected[1], self._settings())
            return f'{self.name} has no setting {unexpected[1]!r}. Correct or remove it{near}.'
        missing = re.search(r'__init__\(\) missing \d+ required .*?arguments?: (.*)', message)
        if missing:
            return f'{self.name} needs the setting {missing[1]}. Add it.'
        if (wrong := misfit(self._constructors(), self.config)) is not None:
            return f'{self.name}.{wrong}'
        if isinstance(error, (ValueError, AssertionError)) and self._is_refusal(error):
            return f'{self.name} rejects its settings: {message or _condition(error)}'
        return None

    def _is_refusal(self, error: BaseException) -> bool:
        """Whether an error was raised in a module of the component or its bases, and not in what they call."""
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        return frame.f_globals.get('__name__') in {init.__module__ for init in self._constructors()}

    def _registered(self) -> Iterable[str]:
        """All types of this kind, as a config writes them."""
        root = self.registry.root if self.registry.parent is None else self.registry.parent
        for registry in (root, *root.children.values()):
            registry.import_from_location()
            for name in registry.module_dict:
                yield name
                yield f'{registry.scope}.{name}'

    def _settings(self) -> Iterable[str]:
        for init in self._constructors():
            yield from inspect.signature(init).parameters

    def _constructors(self) -> Iterator[Callable]:
        """What takes the settings: the constructors of the class and of its bases, or the function."""
        for each in inspect.getmro(self.cls) if inspect.isclass(self.cls) else [self.cls]:
            init = vars(each).get('__init__') if inspect.isclass(each) else each
            if inspect.isfunction(init):
                yield init


def _condition(error: BaseException) -> str:
    """The condition of an assertion that says nothing."""
    return f'{traceback.extract_tb(error.__traceback__)[-1].line} does not hold'


def _suggestion(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, set(known), n=1)
    return f' (did you mean {near[0]!r}?)' if near else ''
