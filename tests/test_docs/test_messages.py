"""docs/troubleshooting.md quotes messages that the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

PAGE = ROOT / 'docs' / 'troubleshooting.md'
# What is called with a message.
RAISED = ('InputError', 'UnreadableImageError', '_Refused', 'ArgumentTypeError', 'ImportError')
# Stands for a value in a message of the code.
VALUE = '\0'
# Messages of other programs.
_FOREIGN = ('libGL.so.1: cannot open shared object file',)


def test_quoted_messages_exist() -> None:
    texts = [text for file in code_files() for text, _ in strings_of(file)] + shell_lines()
    gone = [quoted for quoted in quoted_messages() if not any(covers(quoted, text) for text in texts)]
    assert not gone, 'the code has no such message: ' + '\n'.join(gone)


@cache
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


def covers(quoted: str, text: str) -> bool:
    """Whether a quoted message, in which ``...`` stands for anything, is part of a message of the code."""
    return _pattern(quoted).search(text) is not None


@cache
def _pattern(quoted: str) -> re.Pattern[str]:
    return re.compile('.*'.join(map(re.escape, re.split(r'\.{3,4}', quoted.strip()))), re.DOTALL)


def code_files() -> list[Path]:
    return sorted([*(ROOT / 'mmbeitv2').rglob('*.py'), *(ROOT / 'tools').glob('*.py')])


def shell_lines() -> list[str]:
    return [line for file in (ROOT / 'tools').glob('*.sh') for line in file.read_text().splitlines()]


@cache
def strings_of(file: Path) -> list[tuple[str, bool]]:
    """The strings of a module, with :data:`VALUE` for each value in them, and whether each is raised as an error."""
    return list(_strings(ast.parse(file.read_text()), False))


def _strings(node: ast.AST, is_raised: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.JoinedStr):
        yield ''.join(part.value if isinstance(part, ast.Constant) else VALUE for part in node.values), is_raised
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _strings(part.value, False)
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value, is_raised
        return
    if isinstance(node, ast.Call):
        name = getattr(node.func, 'id', getattr(node.func, 'attr', ''))
        for child in ast.iter_child_nodes(node):
            yield from _strings(child, name in RAISED)
        return
    for child in ast.iter_child_nodes(node):
        yield from _strings(child, is_raised and isinstance(node, ast.IfExp | ast.BinOp))
