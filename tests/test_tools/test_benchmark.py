"""The benchmarks at tiny size: what is compared with what, and how the numbers come about."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from mmbeitv2_tools.benchmarks import comparison, steps
from mmseg.models import BEiT, UPerHead

from mmbeitv2.backbones import BEiTv2ViT
from tests.conftest import run_tool
from tests.test_docs.forks import run_bash


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the clock and of the measured processes: ours takes 2 s and 1 GiB, the peer 3 s and 3 GiB."""

    def alternate(calls: dict, repeats: int) -> dict[str, float]:
        return {name: call() / {'ours': 2, 'peer': 3}[name] for name, call in calls.items()}

    monkeypatch.setattr(comparison, 'alternate', alternate)
    monkeypatch.setattr(comparison, 'peak_of_process', lambda name, is_ours, args: 1 << 30 if is_ours else 3 << 30)


@pytest.mark.parametrize('what', ['pretrain', 'tokenizer', 'segment'])
def test_a_step_of_both_is_measured(what: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'result.json'
    run_tool('benchmark', what, '--tiny', '--batch-size', '2', '--device', 'cpu', '--json', str(out))
    result = json.loads(out.read_text())
    for way, count in {'': 2, **({'slide_': 1, 'whole_': 1} if what == 'segment' else {})}.items():
        assert (result[f'{way}ours'], result[f'{way}peer']) == (count / 2, pytest.approx(count / 3))
        assert (result[f'{way}ratio'], result[f'{way}memory_ratio']) == (1.5, pytest.approx(1 / 3))
    assert f'{"ratio":24} 1.500' in capsys.readouterr().out


def test_both_pipelines_are_measured(tmp_path: Path, image_folder: Path) -> None:
    out = tmp_path / 'data.json'
    run_tool('benchmark', 'data', '--peer', 'mmpretrain', '--images', str(image_folder), '--json', str(out))
    result = json.loads(out.read_text())
    assert (result['ours'], result['peer'], result['ratio']) == (16 / 2, pytest.approx(16 / 3), 1.5)


def test_the_peers_are_those_of_the_other_libraries() -> None:
    args = argparse.Namespace(what='segment', config=None, cfg_options=[], tiny=True)
    ours, peer = (steps.build_segmentor(is_ours, args) for is_ours in (True, False))
    assert (type(ours.backbone), type(peer.backbone)) == (BEiTv2ViT, BEiT)
    assert type(peer.decode_head) is UPerHead
    assert type(ours.decode_head) is not UPerHead


def test_the_gpu_report_repeats_nothing_that_is_done_and_makes_a_table(tmp_path: Path) -> None:
    result = {'device': 'Big GPU', 'batch_size': 64, 'ours': 300.0, 'peer': 200.0, 'ratio': 1.5, 'memory_ratio': 0.5}
    for name in ('pretrain_64', 'pretrain_64_compiled', 'tokenizer', 'segment', 'data'):
        (tmp_path / f'{name}.json').write_text(json.dumps(result))
    for name in ('tests', 'profile'):
        (tmp_path / f'{name}.txt').write_text(f'{name} done\n')
    exit_code, output = run_bash(f'bash tools/gpu_report.sh {tmp_path}')
    assert exit_code == 0, output
    assert '| pretrain_64_compiled | Big GPU | 300 | 200 | 1.5 | 0.5 |' in (tmp_path / 'report.md').read_text()
