"""The pages quote messages that the code has."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from functools import cache

from tests.conftest import ROOT
from tests.test_docs.blocks import pages

# Stands for a value in a message of the code.
VALUE = '\0'
ANY = ''
# Messages of other programs.
_FOREIGN = re.compile(
    'libGL|(Import|Type|Key)Error:|No module named|python: command|Fail(ed)? to|Could not import|unexpected key|'
    'Layout of the output|.*EADDRINUSE'
)


def test_quoted_messages_exist() -> None:
    files = [*(ROOT / 'mmbeitv2').rglob('*.py'), *(ROOT / 'tools').rglob('*.py')]
    texts = [text for file in files for text in strings_of(ast.parse(file.read_text()))]
    lines = [line for file in (ROOT / 'tools').glob('*.sh') for line in file.read_text().splitlines()]
    messages = [words_of(text) for text in (*texts, *(re.sub(r'\$\w+', VALUE, line) for line in lines))]
    quoted = quoted_messages()
    assert len(quoted) > 80
    gone = [each for each in quoted if not any(is_of(words_of(each), message) for message in messages)]
    assert not gone, 'the code has no such message: ' + '\n'.join(gone)
    reversed_ones = [words_of(each)[::-1] for each in quoted if len(each.split()) > 4]
    assert sum(any(is_of(words, message) for message in messages) for words in reversed_ones) < 3


def quoted_messages() -> list[str]:
    """The messages in the first column of the tables."""
    quoted: list[str] = []
    in_table = False
    for line in (line for page in pages() for line in page.read_text().splitlines()):
        if line.startswith(('| message |', '| what you see |')):
            in_table = True
        elif not line.startswith('|'):
            in_table = False
        elif in_table:
            quoted += re.findall(r'`([^`]+)`', line.split(' | ')[0])
    return [message.removeprefix('error: ') for message in quoted if ' ' in message and not _FOREIGN.match(message)]


def words_of(text: str) -> list[str]:
    """The words of a message, with :data:`ANY` for what differs from case to case."""
    return [ANY if VALUE in word or '..' in word else word.strip('.,;:"') for word in text.split()]


def is_of(quoted: list[str], message: list[str]) -> bool:
    """Whether a quotation is a part of a message: a value of one stands for any words of the other, but three of five
    words of the quotation are words of the message, in their order."""
    num_words = sum(word.isalpha() for word in quoted)
    if len(set(quoted) & set(message)) < 0.6 * len({word for word in quoted if word.isalpha()}):
        return False  # soon, as most are

    @cache
    def same(i: int, j: int) -> float:
        """How many words are the same where the rest of the quotation, after i words, stands after j of the message."""
        if i == len(quoted):
            return 0
        if j == len(message):
            return same(i + 1, j) if quoted[i] == ANY else -math.inf
        if ANY in (quoted[i], message[j]):
            return max(same(i + 1, j + 1), same(i, j + 1), same(i + 1, j))
        return quoted[i].isalpha() + same(i + 1, j + 1) if quoted[i] == message[j] else -math.inf

    return max(same(0, j) for j in range(len(message) + 1)) >= 0.6 * num_words


def strings_of(node: ast.AST) -> Iterator[str]:
    """The strings of a module but docstrings, with :data:`VALUE` for each value in them."""
    if isinstance(node, ast.JoinedStr):
        yield ''.join(part.value if isinstance(part, ast.Constant) else VALUE for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.Expr) and isinstance(child, ast.Constant)):
            yield from strings_of(child)
