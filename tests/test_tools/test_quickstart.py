from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope='module')
def quickstart() -> ModuleType:
    spec = importlib.util.spec_from_file_location('quickstart', ROOT / 'tools' / 'quickstart.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules['quickstart'] = module
    spec.loader.exec_module(module)
    return module


def test_a_folder_without_splits_has_no_labels_and_one_with_splits_has(
    quickstart: ModuleType, image_folder: Path
) -> None:
    plain = quickstart.read_data(image_folder)
    assert (plain.train, plain.classes, plain.num_images) == ('', [], 16)
    split = image_folder.parent / 'split'
    split.mkdir()
    for name in ('train', 'val'):
        (split / name).symlink_to(image_folder)
    data = quickstart.read_data(split)
    assert data.classes == ['cat', 'dog']
    quickstart.write_labelled(data, split / 'labelled.txt', share=4)
    lines = (split / 'labelled.txt').read_text().splitlines()
    assert lines == ['cat/nested/0.jpg 0', 'cat/nested/4.jpg 0', 'dog/nested/0.jpg 1', 'dog/nested/4.jpg 1']


def test_epochs_are_scaled_to_the_size_of_the_set(quickstart: ModuleType) -> None:
    data = [quickstart.Data(Path(), '', '', [], count) for count in (6000, 3000, 60000)]
    assert [quickstart.scaled(4, item) for item in data] == [4, 8, 1]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--data', 'nowhere'), "nowhere' not found: give an existing one by --data"),
        (('--data', '{empty}'), 'holds no image'),
        (('--seg-data', '{empty}'), 'wants the layout of ADE20K'),
        (('--seeds', '3'), '--seeds wants two different numbers'),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path: Path, options: tuple, message: str) -> None:
    arguments = [option.format(empty=tmp_path) for option in options]
    command = [sys.executable, 'tools/quickstart.py', '--work-dir', str(tmp_path / 'work'), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith('quickstart.sh: error: ')
    assert message in result.stderr
    assert 'Traceback' not in result.stderr


def test_a_wrong_python_is_named() -> None:
    script = 'source tools/env.sh'
    environment = {'PATH': '/usr/bin:/bin', 'PYTHON': 'no-such-python', 'VENV': '/nonexistent/venv', 'HOME': '/tmp'}
    result = subprocess.run(['bash', '-c', script], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.returncode == 1
    assert 'no Python 3.10, 3.11 or 3.12 found' in result.stderr
