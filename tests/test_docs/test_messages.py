"""The pages quote messages that the code has."""

from __future__ import annotations

import ast
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
    texts += [re.sub(r'\$\w+', VALUE, line) for line in lines]
    messages = [[ANY, *words_of(text), ANY] for text in texts]
    gone = [quoted for quoted in quoted_messages() if not any(is_of(words_of(quoted), each) for each in messages)]
    assert not gone, 'the code has no such message: ' + '\n'.join(gone)


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
    return [message for message in quoted if ' ' in message and not _FOREIGN.match(message)]


def words_of(text: str) -> list[str]:
    """The words of a message, with :data:`ANY` for what differs from case to case."""
    words = [word.strip('.,;:"') for word in text.split()]
    return [word if VALUE not in word else ANY for word in words]


def is_of(quoted: list[str], message: list[str]) -> bool:
    """Whether a quotation is a part of a message. A value of one stands for any words of the other, but four of five
    words that are no values must be the same."""
    plain = {word for word in quoted if word.isalpha()}
    if len(plain & set(message)) < 0.8 * len(plain):
        return False

    @cache
    def fits(i: int, j: int) -> bool:
        """Whether what follows the first i words of the quotation can begin after the first j of the message."""
        if i == len(quoted):
            return True
        if j == len(message):
            return False
        if ANY in (quoted[i], message[j]):
            return fits(i + 1, j + 1) or fits(i, j + 1) or (message[j] == ANY and fits(i + 1, j))
        return quoted[i] == message[j] and fits(i + 1, j + 1)

    return any(fits(0, j) for j in range(1, len(message)))


def strings_of(node: ast.AST) -> Iterator[str]:
    """The strings of a module, with :data:`VALUE` for each value in them."""
    if isinstance(node, ast.JoinedStr):
        yield ''.join(part.value if isinstance(part, ast.Constant) else VALUE for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from strings_of(child)
