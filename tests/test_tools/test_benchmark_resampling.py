from __future__ import annotations

import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT


def test_ours_is_near_pil_and_opencvs_cubic_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f'{i}.png'), cv2.resize(noise, (400, 300), interpolation=cv2.INTER_CUBIC))
    options = ['--size', '96', '--share', '0.5', '--num-images', '4', '--repeats', '1']
    monkeypatch.setattr(sys, 'argv', ['benchmark_resampling.py', str(tmp_path), *options])
    runpy.run_path(str(ROOT / 'tools/benchmark_resampling.py'), run_name='__main__')
    lines = capsys.readouterr().out.splitlines()
    assert '4 crops of' in lines[0]
    found = {line[:42].strip(): float(line[42:].split()[1]) for line in lines[2:]}
    assert found['torch, uint8, bicubic, antialias (ours)'] < 0.2 < 1 < found['OpenCV, cubic']
