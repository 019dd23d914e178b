"""Counts the code blocks of the documentation that are run, and says why others are not."""

from __future__ import annotations

import sys

from tests.conftest import ROOT
from tests.test_docs.blocks import Block, blocks_of, pages


def main() -> None:
    found: list[Block] = []
    sys.stdout.write(f'{"page":40} {"run":>5} {"not run":>8} {"unmarked":>9}\n')
    for page in pages():
        blocks = list(blocks_of(page))
        found += blocks
        if blocks:
            sys.stdout.write(f'{page.relative_to(ROOT)!s:40} {_counts(blocks)}\n')
    sys.stdout.write(f'{"all":40} {_counts(found)}\n\nnot run:\n')
    for block in found:
        if block.kind == 'not run':
            sys.stdout.write(f'  {block.place}: {block.text}\n')


def _counts(blocks: list[Block]) -> str:
    run, not_run, unmarked = (sum(block.kind == kind for block in blocks) for kind in ('run', 'not run', ''))
    return f'{run:5} {not_run:8} {unmarked:9}'


if __name__ == '__main__':
    main()
