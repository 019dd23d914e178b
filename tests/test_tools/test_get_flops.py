from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT, classification_config, run_tool, tiny_pretraining, tiny_tokenizer


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


def test_any_model_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = tmp_path / 'model.py'
    for model, parts in ((tiny_pretraining(), {'backbone', 'neck', 'head', 'tokenizer'}),
                         (tiny_tokenizer(), {'encoder', 'decoder'})):  # fmt: skip
        config.write_text(f'model = {model!r}\n')
        assert count(capsys, str(config), '--shape', '32').keys() == parts
    assert count(capsys, classification_config(tmp_path, tmp_path), '--shape', '32', '48').keys() == {'model'}
    config.write_text("model = dict(type='mmpretrain.ResNet', depth=18)\n")
    parameters, operations = count(capsys, str(config))['model']
    assert abs(parameters - 11.18) < 0.01  # without the classifier
    assert abs(operations - 1.82) < 0.02  # He et al. 2016, table 1: 1.8e9
