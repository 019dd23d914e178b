"""Finds the code blocks of the documentation, and their markers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT

LANGUAGES = ('bash', 'python')
# Other names of the same languages, which would escape the test.
_ALIASES = ('sh', 'shell', 'zsh', 'py', 'python3')
_FENCE = re.compile(r'^(?P<indent> *)(?P<fence>`{3,}|~{3,})\s*(?P<language>[\w+-]*)')
_MARKER = re.compile(r'^\s*<!--\s*(?P<kind>run|not run):(?P<text>.*?)-->\s*$')
_SETTINGS = ('made', 'skip', 'config', 'base')


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: file, relative to the repository.
        line: of its fence.
        language: ``bash`` or ``python``.
        code: without the indentation of the fence.
        kind: ``run``, ``not run``, or '' without a marker.
        text: of the marker, settings or a reason.
    """

    page: str
    line: int
    language: str
    code: str
    kind: str
    text: str

    @property
    def place(self) -> str:
        return f'{self.page}:{self.line}'

    @property
    def settings(self) -> Settings:
        return Settings.parse(self.text)


@dataclass
class Settings:
    """What a marker says after ``run:``."""

    is_tiny: bool = False
    is_config: bool = False
    config: str | None = None
    base: str | None = None
    made: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    replaced: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Settings:
        settings = cls()
        for word in shlex.split(text):
            key, equals, value = word.partition('=')
            if word == 'tiny':
                settings.is_tiny = True
            elif key == 'config':
                settings.is_config, settings.config = True, value or None
            elif not equals:
                raise ValueError(f'unknown setting {word!r}: tiny, {", ".join(_SETTINGS)} or OLD=NEW')
            elif key == 'base':
                settings.base = value
            elif key == 'made':
                settings.made.append(value)
            elif key == 'skip':
                settings.skipped.append(value)
            else:
                settings.replaced[key] = value
        return settings

    def apply(self, code: str) -> str:
        """The code with the substitutes.

        Raises:
            ValueError: if one of them has nothing to replace.
        """
        if self.replaced:
            # All at once, so that no substitute is replaced in turn; whole words only.
            words = sorted(self.replaced, key=len, reverse=True)
            pattern = re.compile(rf'(?<![\w-])({"|".join(map(re.escape, words))})(?![\w-])')
            for word in words:
                if not re.search(rf'(?<![\w-]){re.escape(word)}(?![\w-])', code):
                    raise ValueError(f'there is no word {word!r} to replace')
            code = pattern.sub(lambda match: self.replaced[match[1]], code)
        lines = code.splitlines(keepends=True)
        for word in self.skipped:
            if not any(line.split()[:1] == [word] for line in lines):
                raise ValueError(f'there is no line {word!r} to skip')
        return ''.join(line for line in lines if not line.split()[:1] or line.split()[0] not in self.skipped)


def pages() -> list[Path]:
    """All pages, in the order in which they are run."""
    return [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]


def blocks_of(page: Path) -> Iterator[Block]:
    """The bash and python blocks of a page."""
    name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
    lines = page.read_text(encoding='utf-8').splitlines()
    number = 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        start = number
        number += 1
        if opening is None:
            continue
        code = []
        while number < len(lines) and lines[number].strip() != opening['fence']:
            code.append(lines[number].removeprefix(opening['indent']))
            number += 1
        if number == len(lines):
            raise ValueError(f'{name}:{start + 1}: the block has no end')
        number += 1
        if opening['language'] in _ALIASES:
            raise ValueError(f'{name}:{start + 1}: name the language bash or python, not {opening["language"]}')
        if opening['language'] in LANGUAGES:
            above = next((line for line in reversed(lines[:start]) if line.strip()), '')
            marker = _MARKER.match(above)
            kind, text = (marker['kind'], marker['text'].strip()) if marker else ('', '')
            yield Block(name, start + 1, opening['language'], '\n'.join(code) + '\n', kind, text)
