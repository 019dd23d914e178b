from __future__ import annotations

import sys
from pathlib import Path

from tests.conftest import last_line, run, tiny_pretraining


def count(*arguments: str) -> dict[str, tuple[float, float]]:
    """Parameters in millions and operations in units of 1e9, by part."""
    lines = [line.split() for line in run(sys.executable, 'tools/get_flops.py', *arguments).splitlines()]
    return {line[0]: (float(line[1]), float(line[3])) for line in lines if len(line) == 5 and line[2::2] == ['M', 'G']}


def test_vit_b_has_the_numbers_that_are_known() -> None:
    parts = count('configs/beitv2_vit-b_1600e.py')
    assert list(parts) == ['backbone', 'neck', 'head', 'tokenizer']
    assert abs(parts['backbone'][1] - 17.6) < 0.05  # DeiT, table 5
    assert abs(parts['head'][0] - (768 + 1) * 8192 / 1e6) < 0.01
    assert parts['neck'][1] < 2.2 / 12 * parts['backbone'][1]


def test_a_tiny_model_and_bad_input(tmp_path: Path) -> None:
    config = tmp_path / 'tiny.py'
    config.write_text(f'model = {tiny_pretraining()!r}\n')
    assert count(str(config), '--shape', '32').keys() == {'backbone', 'neck', 'head', 'tokenizer'}
    message = last_line(run(sys.executable, 'tools/get_flops.py', str(config), '--shape', '0', ok=False))
    assert message == 'get_flops.py: error: --shape 0 must be one or two sides in pixels'
    assert 'smaller than one patch' in run(sys.executable, 'tools/get_flops.py', str(config), '--shape', '4', ok=False)
