"""docs/troubleshooting.md quotes messages that the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

from tests.conftest import ROOT

PAGE = ROOT / 'docs' / 'troubleshooting.md'
# Stands for a value in a message of the code.
VALUE = '\0'
# Messages of other programs.
_FOREIGN = ('libGL.so.1: cannot open shared object file',)


def test_quoted_messages_exist() -> None:
    files = [*(ROOT / 'mmbeitv2').rglob('*.py'), *(ROOT / 'tools').glob('*.py')]
    texts = [text for file in files for text in strings_of(ast.parse(file.read_text()))]
    texts += [file.read_text() for file in (ROOT / 'tools').glob('*.sh')]
    gone = [quoted for quoted in quoted_messages() if not any(pattern_of(quoted).search(text) for text in texts)]
    assert not gone, 'the code has no such message: ' + '\n'.join(gone)


def quoted_messages() -> list[str]:
    """The messages in the first column of the tables."""
    quoted: list[str] = []
    in_table = False
    for line in PAGE.read_text().splitlines():
        if line.startswith('| message |'):
            in_table = True
        elif not line.startswith('|'):
            in_table = False
        elif in_table:
            quoted += re.findall(r'`([^`]+)`', line.split(' | ')[0])
    return [message for message in quoted if message not in _FOREIGN]


@cache
def pattern_of(quoted: str) -> re.Pattern[str]:
    """Of a quoted message, in which ``...`` stands for anything."""
    return re.compile('.*'.join(map(re.escape, re.split(r'\.{3,4}', quoted.strip()))), re.DOTALL)


def strings_of(node: ast.AST) -> Iterator[str]:
    """The strings of a module, with :data:`VALUE` for each value in them."""
    if isinstance(node, ast.JoinedStr):
        yield ''.join(part.value if isinstance(part, ast.Constant) else VALUE for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from strings_of(child)
