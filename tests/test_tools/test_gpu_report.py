from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmbeitv2_tools.benchmarks import gpu_pieces, gpu_report, steps

from tests.conftest import refused, run_tool

MARKS = f'{gpu_report.BEGIN}\n{gpu_report.END}\n'

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='of machines without a GPU')


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two pieces instead of the real ones; the names of those that were run."""
    run: list[str] = []

    def good(tiny: bool) -> list[dict]:
        run.append('good')
        return [{'ours': 1.23456, 'tiny': tiny}]

    def bad(tiny: bool) -> list[dict]:
        run.append('bad')
        raise ValueError('one line\nthe last line')

    for module in (gpu_report, gpu_pieces):
        monkeypatch.setattr(module, 'PIECES', {'bad': bad, 'good': good})
    return run


def test_a_piece_that_fails_stops_no_other_and_is_all_that_is_run_again(
    tmp_path: Path, pieces: list, capsys: pytest.CaptureFixture
) -> None:
    page = tmp_path / 'page.md'
    page.write_text(f'# Before\n{gpu_report.BEGIN}\nold\n{gpu_report.END}\nafter\n')
    command = ['gpu_report', str(tmp_path / 'work'), '--in-process', '--page', str(page)]
    for expected in (['bad', 'good'], ['bad', 'good', 'bad']):
        assert 'error: failed: bad; see ' in refused(capsys, *command)
        assert pieces == expected
    text = page.read_text()
    assert text.startswith(f'# Before\n{gpu_report.BEGIN}\n')
    assert text.endswith(f'{gpu_report.END}\nafter\n')
    assert 'old' not in text
    assert 'Failed: ValueError: the last line' in text
    assert '| ours | tiny |\n|---|---|\n| 1.235 | True |' in text
    assert 'only to show that everything runs' in text


def test_results_of_the_cpu_go_into_no_page_by_themselves(
    tmp_path: Path, pieces: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(gpu_report, 'ROOT', tmp_path)
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'docs/benchmarks.md').write_text(MARKS)
    run_tool('gpu_report', str(tmp_path / 'work'), '--in-process', '--piece', 'good')
    assert (tmp_path / 'docs/benchmarks.md').read_text() == MARKS
    output = capsys.readouterr().out
    assert 'There is no GPU' in output
    assert '[1/1] good: done in ' in output
    assert pieces == ['good']
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Big GPU')
    run_tool('gpu_report', str(tmp_path / 'work'), '--in-process', '--piece', 'good')
    assert pieces == ['good', 'good']  # what the CPU left does not count
    assert 'On one Big GPU' in (tmp_path / 'docs/benchmarks.md').read_text()


def test_a_piece_in_a_process_of_its_own(tmp_path: Path, pieces: list, monkeypatch: pytest.MonkeyPatch) -> None:
    class InThisProcess(subprocess.Popen):
        def __init__(self, command: list[str], **options: object) -> None:
            assert command[0] == sys.executable
            run_tool('gpu_report', *command[2:])
            super().__init__(['true'], **options)

    monkeypatch.setattr(gpu_report.subprocess, 'Popen', InThisProcess)
    run_tool('gpu_report', str(tmp_path), '--piece', 'good')
    assert json.loads((tmp_path / 'good.json').read_text())['rows'] == [{'ours': 1.23456, 'tiny': True}]


def test_a_piece_that_takes_too_long_ends_with_all_that_it_started(
    tmp_path: Path, pieces: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / 'slow.sh'
    slow.write_text(f'#!/bin/sh\nsleep 60 &\necho $! > {tmp_path}/pid\nwait\n')
    slow.chmod(0o755)
    monkeypatch.setattr(sys, 'executable', str(slow))
    monkeypatch.setattr(gpu_report, 'TIME_LIMIT', 2)
    with pytest.raises(SystemExit):
        run_tool('gpu_report', str(tmp_path / 'work'), '--piece', 'bad')
    assert 'not done after 2 seconds' in json.loads((tmp_path / 'work' / 'bad.json').read_text())['error']
    status = Path('/proc') / (tmp_path / 'pid').read_text().strip() / 'status'
    assert not status.exists() or 'State:\tZ' in status.read_text()


@pytest.mark.parametrize('name', [name for name in gpu_pieces.PIECES if '28' not in name and '5' not in name])
def test_each_piece_runs_at_tiny_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, 'peak_of_process', lambda name, is_ours, args: 1)
    monkeypatch.setattr(steps, 'matmul_rate', lambda args: 1e12)
    if name == 'tests':
        ended = subprocess.CompletedProcess([], 5, 'no tests ran', '')
        monkeypatch.setattr(gpu_pieces.subprocess, 'run', lambda *args, **options: ended)
    if name.endswith('_compiled'):
        monkeypatch.setattr(torch.nn.Module, 'compile', lambda self: None)  # the compiler takes minutes
    rows = gpu_pieces.PIECES[name](True)
    assert rows
    assert all(isinstance(row, dict) for row in rows)


def test_the_marks_of_the_repositorys_page_are_there() -> None:
    gpu_report.merge('', gpu_report.ROOT / 'docs/benchmarks.md', write=False)


def test_bad_input_to_gpu_report(tmp_path: Path, pieces: list, capsys: pytest.CaptureFixture) -> None:
    assert "--piece 'none' is unknown" in refused(capsys, 'gpu_report', str(tmp_path), '--piece', 'none')
    (tmp_path / 'page.md').write_text('# Page')
    for page, message in (('page.md', 'must contain each of the lines'), ('absent.md', 'cannot be read')):
        assert message in refused(capsys, 'gpu_report', str(tmp_path), '--page', str(tmp_path / page))
    (tmp_path / 'file').touch()
    assert 'is not a folder' in refused(capsys, 'gpu_report', str(tmp_path / 'file' / 'work'))
    assert not pieces


@pytest.mark.parametrize(
    ('kernel', 'kind'),
    [
        ('fmha_cutlassF_bf16_aligned_64x64_rf_sm80', 'attention'),
        ('nvjet_tst_128x256_64x4_2x1_v_bz_coopA_NNT', 'matrix products'),
        ('void at::native::vectorized_elementwise_kernel<4, at::native::AddFunctor>', 'elementwise'),
        ('void at::native::vectorized_layer_norm_kernel<float>', 'norms and softmax'),
        ('Memcpy DtoD (Device -> Device)', 'copies'),
        ('void at::native::_scatter_gather_elementwise_kernel<128, 8>', 'lookups'),
        ('void cublasLt::splitKreduce_kernel<32, 16, int, float>', 'matrix products'),
        ('something_new', 'others'),
    ],
)
def test_kinds_of_kernels(kernel: str, kind: str) -> None:
    assert gpu_pieces.kind_of(kernel) == kind


def test_ranges_that_only_frame_kernels_are_not_counted_as_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def step() -> float:
        with torch.profiler.record_function('Optimizer.step#AdamW.step'):
            return float((torch.ones(400, 400) @ torch.ones(400, 400)).sum())

    monkeypatch.setattr(steps, 'pretrain_step', lambda is_ours, args: step)
    monkeypatch.setattr(steps, 'matmul_rate', lambda args: 1e12)
    assert 'optimizer' not in {row['what'] for row in gpu_pieces.where_the_time_goes(True)}
