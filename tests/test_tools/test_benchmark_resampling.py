from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import refused, run_tool


def test_ours_is_near_pil_and_opencvs_cubic_is_not(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f'{i}.png'), cv2.resize(noise, (400, 300), interpolation=cv2.INTER_CUBIC))
    options = ['--size', '96', '--share', '0.5', '--num-images', '4', '--repeats', '1']
    run_tool('benchmark_resampling', str(tmp_path), *options)
    lines = capsys.readouterr().out.splitlines()
    assert '4 crops of' in lines[0]
    found = {line[:42].strip(): float(line[42:].split()[1]) for line in lines[2:]}
    assert found['torch, uint8, bicubic, antialias (ours)'] < 0.2 < 1 < found['OpenCV, cubic']


def test_bad_input_to_benchmark_resampling(image_folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert 'must lie in (0, 1]' in refused(capsys, 'benchmark_resampling', str(image_folder), '--share', '0')
    assert "nowhere' not found" in refused(capsys, 'benchmark_resampling', 'nowhere')
    for option in ('--size=0', '--num-images=-1', '--repeats=0'):
        message = refused(capsys, 'benchmark_resampling', str(image_folder), option, code=2)
        assert 'must be a whole number of at least 1' in message
