"""Finds the code blocks of the documentation, and their markers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from tests.conftest import ROOT

# With other names of the two languages, which would else escape the test.
_BLOCK = re.compile(
    r'(?:^ *<!-- (?P<kind>run|not run):(?P<text>.*?)-->\s*)?'
    r'^ *```(?P<language>bash|sh|shell|zsh|python3?|py)\n(?P<code>.*?)^ *```$',
    re.MULTILINE | re.DOTALL,
)
_SETTINGS = ('tiny', 'made', 'config', 'base')


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: file, relative to the repository.
        line: of its fence.
        language: ``bash`` or ``python``.
        code: without the indentation of the fence.
        kind: ``run``, ``not run``, or None without a marker.
        text: of the marker, settings or a reason.
    """

    page: str
    line: int
    language: str
    code: str
    kind: str | None
    text: str

    @property
    def place(self) -> str:
        return f'{self.page}:{self.line}'

    def values_of(self, setting: str) -> list[str]:
        """What the marker says of a setting: nothing, '' where it stands without a value, or its values."""
        return [value for name, value in self._words() if name == setting]

    def code_to_run(self) -> str:
        """The code with the substitutes, all at once, so that none is replaced in turn, and for whole words only."""
        substitutes = {name: value for name, value in self._words() if name not in _SETTINGS}
        names = map(re.escape, sorted(substitutes, key=len, reverse=True))
        pattern = re.compile(rf'(?<![\w-])({"|".join(names)})(?![\w-])')
        assert not substitutes or substitutes.keys() == set(pattern.findall(self.code)), 'a substitute replaces nothing'
        return pattern.sub(lambda match: substitutes[match[1]], self.code) if substitutes else self.code

    def _words(self) -> list[tuple[str, str]]:
        return [(name, value) for name, _, value in (word.partition('=') for word in shlex.split(self.text))]


def pages() -> list[Path]:
    """All pages, in the order in which they are run."""
    return [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]


def blocks_of(page: Path) -> Iterator[Block]:
    """The bash and python blocks of a page."""
    text = page.read_text(encoding='utf-8')
    for found in _BLOCK.finditer(text):
        line = text.count('\n', 0, found.start('language')) + 1
        marker = found['kind'], (found['text'] or '').strip()
        yield Block(str(page.relative_to(ROOT)), line, found['language'], dedent(found['code']), *marker)
