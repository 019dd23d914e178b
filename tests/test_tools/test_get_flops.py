from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT, refused, run_tool, tiny_pretraining


def count(capsys: pytest.CaptureFixture, *arguments: str) -> dict[str, tuple[float, float]]:
    """Parameters in millions and operations in units of 1e9, by part."""
    run_tool('get_flops', *arguments)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    return {line[0]: (float(line[1]), float(line[3])) for line in lines if len(line) == 5 and line[2::2] == ['M', 'G']}


def test_vit_b_has_the_numbers_that_are_known(capsys: pytest.CaptureFixture) -> None:
    parts = count(capsys, str(ROOT / 'configs/beitv2_vit-b_1600e.py'))
    assert list(parts) == ['backbone', 'neck', 'head', 'tokenizer']
    assert abs(parts['backbone'][1] - 17.6) < 0.05  # DeiT, table 5
    assert abs(parts['head'][0] - (768 + 1) * 8192 / 1e6) < 0.01
    assert parts['neck'][1] < 2.2 / 12 * parts['backbone'][1]


def test_a_tiny_model_and_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = tmp_path / 'tiny.py'
    config.write_text(f'model = {tiny_pretraining()!r}\n')
    assert count(capsys, str(config), '--shape', '32').keys() == {'backbone', 'neck', 'head', 'tokenizer'}
    assert 'must be one or two sides' in refused(capsys, 'get_flops', str(config), '--shape', '32', '32', '32')
    assert 'smaller than one patch' in refused(capsys, 'get_flops', str(config), '--shape', '4')
    for shape in ('0', '-32', 'large'):
        message = refused(capsys, 'get_flops', str(config), f'--shape={shape}', code=2)
        assert 'must be a whole number of at least 1' in message
