from __future__ import annotations

import runpy
import subprocess
import sys

import pytest

from mmbeitv2.checkpoints import FORMATS
from tests.conftest import ROOT

TOOLS = sorted(path.stem for path in (ROOT / 'tools').glob('*.py'))
HEAVY = ('torch', 'mmengine', 'mmcv', 'mmpretrain', 'mmseg', 'numpy', 'cv2', 'matplotlib')


@pytest.mark.parametrize('name', TOOLS)
def test_help_is_shown_before_anything_heavy_is_imported(name: str) -> None:
    script = f"""
import runpy, sys
sys.argv = ['{name}.py', '--help']
try:
    runpy.run_path({str(ROOT / 'tools' / f'{name}.py')!r}, run_name='__main__')
except SystemExit as end:
    assert not end.code
heavy = set(sys.modules) & set({HEAVY!r})
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert 'usage: ' in result.stdout


def test_the_formats_that_convert_checkpoint_offers_are_those_that_there_are() -> None:
    assert runpy.run_path(str(ROOT / 'tools' / 'convert_checkpoint.py'))['FORMATS'] == tuple(FORMATS)
