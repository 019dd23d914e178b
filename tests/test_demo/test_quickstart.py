from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mmbeitv2.demo.images import Data, read_data, scaled, write_labelled
from mmbeitv2.demo.quickstart import TOOL
from mmbeitv2.fileio.folders import MARKER, claim_folder, remove_folder
from tests.conftest import ROOT


@pytest.fixture(scope='module')
def quickstart() -> ModuleType:
    spec = importlib.util.spec_from_file_location('quickstart', ROOT / 'tools' / 'quickstart.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules['quickstart'] = module
    spec.loader.exec_module(module)
    return module


def test_a_folder_without_splits_has_no_labels_and_one_with_splits_has(image_folder: Path) -> None:
    plain = read_data(image_folder)
    assert (plain.train, plain.classes, plain.num_images) == ('', [], 16)
    split = image_folder.parent / 'split'
    split.mkdir()
    for name in ('train', 'val'):
        (split / name).symlink_to(image_folder)
    data = read_data(split)
    assert data.classes == ['cat', 'dog']
    write_labelled(data, split / 'labelled.txt', share=4)
    lines = (split / 'labelled.txt').read_text().splitlines()
    assert lines == ['cat/nested/0.jpg 0', 'cat/nested/4.jpg 0', 'dog/nested/0.jpg 1', 'dog/nested/4.jpg 1']


def test_epochs_are_scaled_to_the_size_of_the_set() -> None:
    data = [Data(Path(), '', '', [], count) for count in (6000, 3000, 60000)]
    assert [scaled(4, item) for item in data] == [4, 8, 1]


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


def refused(quickstart: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *argv: str) -> str:
    """The sentence with which the quickstart ends before its first stage."""
    monkeypatch.setattr(sys, 'argv', ['quickstart.py', *argv])
    monkeypatch.setattr(quickstart.Quickstart, '_run_stage', lambda *_: pytest.fail('a stage was started'))
    with pytest.raises(SystemExit) as end:
        quickstart.main()
    assert end.value.code == 1
    return capsys.readouterr().err


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob('*'))


@pytest.mark.parametrize('work_dir', ['', '.', 'DATA', 'ABOVE', 'INSIDE', 'LINK', 'HOME'])
def test_a_work_dir_that_holds_or_lies_in_something_of_the_user_is_refused_and_left_as_it_is(
    quickstart: ModuleType,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    work_dir: str,
) -> None:
    (tmp_path / 'link').symlink_to(tmp_path)
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    monkeypatch.setenv('HOME', str(tmp_path))
    places = {
        'DATA': image_folder,
        'ABOVE': image_folder.parent,
        'INSIDE': image_folder / 'out',
        'LINK': tmp_path / 'link',
        'HOME': tmp_path,
    }
    before = everything_in(tmp_path)
    options = ['--fresh', '--work-dir', str(places.get(work_dir, work_dir)), '--data', str(image_folder)]
    message = refused(quickstart, monkeypatch, capsys, *options)
    assert re.search('give a folder of its own|lies inside the images', message)
    assert everything_in(tmp_path) == before


def test_files_of_the_user_in_the_work_dir_or_in_the_folder_of_a_stage_are_never_deleted(
    quickstart: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    work_dir = tmp_path / 'work'
    notes = work_dir / 'tokenizer' / 'notes.txt'
    notes.parent.mkdir(parents=True)
    notes.touch()
    command = ['--fresh', '--work-dir', str(work_dir)]
    assert "holds 'tokenizer'" in refused(quickstart, monkeypatch, capsys, *command)
    claim_folder(tmp_path / 'new', TOOL)
    notes.parent.rename(tmp_path / 'new' / 'tokenizer')
    work_dir.rmdir()
    (tmp_path / 'new').rename(work_dir)  # a work dir of the quickstart, the folder of the stage is the user's
    assert "holds 'notes.txt'" in refused(quickstart, monkeypatch, capsys, *command)
    (work_dir / 'tokenizer' / MARKER).write_text(TOOL)  # the folder is the quickstart's, the file is not
    assert "holds 'notes.txt'" in refused(quickstart, monkeypatch, capsys, *command)
    assert notes.is_file()


def test_a_stage_replaces_what_an_earlier_run_left_of_it(quickstart: ModuleType, tmp_path: Path) -> None:
    run = quickstart.Quickstart(tmp_path / 'work')
    folder = run.folder('pretrain')
    claim_folder(folder, TOOL)
    for name in (
        'pretrain.py',
        'epoch_1.pth',
        'epoch_2.pth.tmp',
        'last_checkpoint',
        'metrics.json',
        '20261121_101010/20261121_101010.log',
        '20261121_101010/vis_data/scalars.json',
        '20261121_101010/vis_data/20261121_101010.json',
        '20261121_101010/vis_data/config.py',
        'test/20261121_101010/20261121_101010.log',
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    remove_folder(folder, TOOL, run.written('pretrain'))
    assert not folder.exists()


def test_a_wrong_python_is_named() -> None:
    script = 'source tools/env.sh'
    environment = {'PATH': '/usr/bin:/bin', 'PYTHON': 'no-such-python', 'VENV': '/nonexistent/venv', 'HOME': '/tmp'}
    result = subprocess.run(['bash', '-c', script], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.returncode == 1
    assert 'no Python 3.10, 3.11 or 3.12 found' in result.stderr
