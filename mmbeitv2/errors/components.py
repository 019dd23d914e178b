"""Mistakes in the settings of a component, found in the frames of mmengine's registry."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

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
        """A sentence for what people mistype, the names of types and of settings; None for any other error."""
        if isinstance(error, KeyError) and re.match(r'\S+ is not in the .+ registry', message):
            near = _suggestion(self.name, self._registered())
            return f'{self.registry.name} {self.name!r} is unknown: correct its type{near}'
        if not isinstance(error, TypeError) or self.cls is None:
            return None
        unexpected = re.search(r"got an unexpected keyword argument '(\w+)'", message)
        if unexpected and unexpected[1] in self.config:
            near = _suggestion(unexpected[1], self._settings())
            return f'{self.name} has no setting {unexpected[1]!r}: correct or remove it{near}'
        missing = re.search(r'__init__\(\) missing \d+ required .*?arguments?: (.*)', message)
        return f'{self.name} needs the setting {missing[1]}: add it' if missing else None

    def _registered(self) -> Iterable[str]:
        """All types of this kind, as a config writes them."""
        root = self.registry.root if self.registry.parent is None else self.registry.parent
        for registry in (root, *root.children.values()):
            registry.import_from_location()
            for name in registry.module_dict:
                yield name
                yield f'{registry.scope}.{name}'

    def _settings(self) -> Iterable[str]:
        for each in inspect.getmro(self.cls) if inspect.isclass(self.cls) else [self.cls]:
            init = vars(each).get('__init__') if inspect.isclass(each) else each
            if inspect.isfunction(init):
                yield from inspect.signature(init).parameters


def _suggestion(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, set(known), n=1)
    return f' (did you mean {near[0]!r}?)' if near else ''
