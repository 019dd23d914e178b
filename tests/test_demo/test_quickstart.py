from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo import console, quickstart
from demo.images import (
    LEAST_IMAGES,
    LEAST_LABELLED,
    Data,
    fingerprint,
    list_labeled,
    read_data,
    read_segmented,
    scaled,
)
from demo.quickstart import TOOL, Quickstart
from mmbeitv2.apis import read_config
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.folders import MARKER, claim_folder, remove_folder, require_removable
from tests.conftest import ROOT, classification_config, refused, run_tool


def test_a_folder_without_splits_has_no_labels_and_one_with_splits_has(image_folder: Path) -> None:
    plain = read_data(image_folder)
    assert (plain.train, plain.classes, plain.num_images) == ('', [], 16)
    split = image_folder.parent / 'split'
    split.mkdir()
    for name in ('train', 'val'):
        (split / name).symlink_to(image_folder)
    data = read_data(split)
    assert data.classes == ['cat', 'dog']
    lines = ['cat/nested/0.jpg 0', 'cat/nested/4.jpg 0', 'dog/nested/0.jpg 1', 'dog/nested/4.jpg 1']
    assert list_labeled(data, share=4) == [f'{line}\n' for line in lines]


def test_class_folders_must_be_the_same_in_train_and_val(image_folder: Path) -> None:
    split = image_folder.parent / 'split'
    shutil.copytree(image_folder, split / 'train')
    shutil.copytree(image_folder, split / 'val')
    (split / 'val' / 'dog').rename(split / 'val' / 'wolf')
    with pytest.raises(InputError, match="class folder 'dog' in only one of train and val"):
        read_data(split)


def write_segmented(root: Path, labels: np.ndarray) -> Path:
    for kind in ('images', 'annotations'):
        for split in ('training', 'validation'):
            (root / kind / split).mkdir(parents=True)
            cv2.imwrite(str(root / kind / split / '0.png'), labels)
    return root


def test_the_largest_label_is_the_number_of_classes_and_255_is_none(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [7, 255]], dtype=np.uint8)
    assert read_segmented(write_segmented(tmp_path, labels)).num_classes == 7


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.zeros((4, 4), np.uint8), 'have no labels'),
        (np.ones((4, 4, 3), np.uint8), 'is not a label image'),
        (np.ones((4, 4), np.uint16), 'is not a label image'),
    ],
)
def test_annotations_that_are_no_labels_are_refused(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_segmented(write_segmented(tmp_path, labels))


def test_a_change_of_any_image_changes_the_fingerprint(image_folder: Path) -> None:
    found = {fingerprint([image_folder])}
    image = image_folder / 'cat/nested/0.jpg'
    for change in (
        lambda: os.utime(image, ns=(1, 1)),
        lambda: image.write_bytes(b'longer'),
        lambda: image.rename(image.with_name('9.jpg')),
        image.with_name('9.jpg').unlink,
    ):
        change()
        found.add(fingerprint([image_folder]))
    assert len(found) == 5


def test_epochs_are_scaled_to_the_size_of_the_set() -> None:
    data = [Data(Path(), '', '', [], count) for count in (6000, 3000, 60000)]
    assert [scaled(4, item) for item in data] == [4, 8, 1]


METRICS = [f'tokenizer/{name}' for name in ('codebook_usage', 'perplexity', 'reconstruction_loss')]
METRICS += [f'mim/{name}' for name in ('accuracy', 'chance', 'majority')] + ['accuracy/top1', 'mIoU']


class FakeStages:
    """Takes the place of the stages' commands: notes which ran, and leaves what the next ones read."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.commands: dict[str, list[str]] = {}

    def __call__(self, stage: str, command: list[str], folder: Path, log: Path, start: float) -> None:
        out = log.with_name(stage)
        if stage not in self.ran:
            self.ran.append(stage)
            self.commands[stage] = command
        out.mkdir(exist_ok=True)
        for name in Quickstart.RESULTS.get(stage, ()):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).touch()
        if stage == 'sample':
            for split in ('train', 'val'):
                for i in range(2):
                    image = out / 'imagenet' / split / f'class{i}' / '0.jpg'
                    image.parent.mkdir(parents=True, exist_ok=True)
                    image.touch()
        if stage in Quickstart.RESULTS:
            return
        (out / 'epoch_1.pth').touch()
        (out / 'last_checkpoint').write_text('/moved/since/epoch_1.pth')
        metrics = dict.fromkeys(METRICS, 1)
        (out / 'metrics.json').write_text(json.dumps(metrics))


@pytest.fixture(autouse=True)
def stages(monkeypatch: pytest.MonkeyPatch) -> FakeStages:
    fake = FakeStages()
    monkeypatch.setattr(quickstart, 'call', fake)
    return fake


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the configs, which a test may edit."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'root' / 'configs')
    return tmp_path / 'root'


ALL = list(Quickstart.STAGES)


def test_a_stage_runs_again_when_anything_that_it_depends_on_has_changed(
    tmp_path: Path, root: Path, stages: FakeStages
) -> None:
    def ran_again() -> list[str]:
        stages.ran = []
        Quickstart(root, tmp_path / 'work').run()
        return stages.ran

    def edit(config: str, old: str, new: str) -> None:
        path = root / 'configs' / config
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    assert ran_again() == ALL
    assert ran_again() == []
    edit('quickstart/finetune.py', 'max_epochs=4', 'max_epochs=5')  # from which finetune_scratch inherits
    assert ran_again() == ['finetune', 'finetune_scratch', 'pictures']
    edit('quickstart/pretrain.py', 'lr=1e-3', 'lr=5e-3')
    assert ran_again() == ['pretrain', 'finetune', 'segment', 'pictures']
    (tmp_path / 'work' / 'segment' / 'epoch_1.pth').unlink()
    assert ran_again() == ['segment']


def test_a_handful_of_images_is_refused(tmp_path: Path, image_folder: Path) -> None:
    for file in sorted(image_folder.rglob('*.jpg'))[:-3]:
        file.unlink()
    with pytest.raises(InputError, match='has 3 training images, but the quickstart needs at least 16'):
        Quickstart(ROOT, tmp_path / 'work', image_folder)
    for stage in ('tokenizer', 'pretrain'):
        cfg = read_config(str(ROOT / f'demo/configs/quickstart/{stage}.py'))
        assert cfg.train_dataloader.batch_size == LEAST_IMAGES


def test_class_folders_with_too_few_images_are_refused_before_the_first_stage(
    tmp_path: Path, image_folder: Path
) -> None:
    for split in ('train', 'val'):
        shutil.copytree(image_folder, tmp_path / 'split' / split)
    for i in range(100):
        shutil.copy(next(image_folder.rglob('*.jpg')), tmp_path / 'split/train/cat' / f'{i}.jpg')
    with pytest.raises(InputError, match=r'fine-tuning uses every fifth .*: 2\d images, .* needs at least 32'):
        Quickstart(ROOT, tmp_path / 'work', tmp_path / 'split')
    cfg = read_config(str(ROOT / 'demo/configs/quickstart/finetune.py'))
    assert cfg.train_dataloader.batch_size == LEAST_LABELLED


def test_other_code_makes_all_stages_run_again(
    tmp_path: Path, stages: FakeStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    Quickstart(ROOT, tmp_path / 'work').run()
    stages.ran = []
    monkeypatch.setattr(quickstart, '_code', lambda: 'other')
    Quickstart(ROOT, tmp_path / 'work').run()
    assert stages.ran == ALL


@pytest.mark.parametrize('name', ['2024', 'cats, dogs', '[1,2]', "it's"])
def test_folders_of_any_name_reach_the_stages_as_typed(
    tmp_path: Path, image_folder: Path, stages: FakeStages, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_folder.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    Quickstart(ROOT, Path('work'), Path(name)).run()
    config = read_config(str(tmp_path / 'work' / 'pretrain' / 'pretrain.py'))
    assert config.train_dataloader.dataset.data_root == str(tmp_path / name)
    assert config.model.tokenizer.init_cfg.checkpoint == str(tmp_path / 'work' / 'tokenizer' / 'epoch_1.pth')
    assert stages.commands['tokenizer'][-1] == str(tmp_path / 'work' / 'tokenizer')


def test_fresh_runs_everything_again_also_through_a_link(tmp_path: Path, stages: FakeStages) -> None:
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'work').symlink_to(tmp_path / 'disk')
    for options in ([], ['--fresh']):
        stages.ran = []
        run_tool('quickstart', '--work-dir', str(tmp_path / 'work'), *options)
        assert stages.ran == ALL
    assert (tmp_path / 'disk' / 'summary.json').is_file()
    assert (tmp_path / 'work').is_symlink()


def test_two_at_once_in_one_work_dir_are_refused(tmp_path: Path, stages: FakeStages) -> None:
    Quickstart(ROOT, tmp_path / 'work').run()
    script = 'import sys; from mmbeitv2.fileio.locking import hold_folder; hold_folder(sys.argv[1]); print(); input()'
    # In a process of its own: the lock belongs to a process, and this one has it.
    holder = [sys.executable, '-c', script, str(tmp_path / 'other')]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        process.stdout.readline()
        shutil.copy(tmp_path / 'work' / MARKER, tmp_path / 'other' / MARKER)
        stages.ran = []
        with pytest.raises(InputError, match='is writing to .*other'):
            Quickstart(ROOT, tmp_path / 'other').run()
        process.communicate('\n')
    assert stages.ran == []


def test_seeds_share_one_pretraining(tmp_path: Path, stages: FakeStages, capsys: pytest.CaptureFixture) -> None:
    run_tool('quickstart', '--work-dir', str(tmp_path / 'work'), '--seeds', '3', '4')
    assert [stages.ran.count(name) for name in ('sample', 'pretrain', 'finetune')] == [1, 1, 1]
    for seed in (3, 4):
        config = read_config(str(tmp_path / 'work' / f'seed_{seed}' / 'segment' / 'segment.py'))
        assert config.randomness.seed == seed
    assert read_config(str(tmp_path / 'work' / 'pretrain' / 'pretrain.py')).randomness.seed == 0
    assert not (tmp_path / 'work' / 'finetune').exists()
    assert 'top1_pretrained' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--data', 'nowhere'), "nowhere' not found. Check the path after --data"),
        (('--data', '{empty}'), 'holds no images'),
        (('--seg-data', '{empty}'), '--seg-data needs a folder with'),
        (('--seeds', '3'), '--seeds needs at least two different numbers'),
        (('--seed', '-1'), 'must not be negative'),
    ],
)
def test_bad_input_gets_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture, options: tuple, message: str
) -> None:
    (tmp_path / 'empty').mkdir()
    arguments = [option.format(empty=tmp_path / 'empty') for option in options]
    assert message in refused(capsys, 'quickstart', '--work-dir', str(tmp_path / 'work'), *arguments)
    assert not (tmp_path / 'work').exists()


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob('*'))


@pytest.mark.parametrize('work_dir', ['', '.', 'DATA', 'ABOVE', 'INSIDE', 'LINK', 'HOME'])
def test_a_work_dir_that_holds_or_lies_in_something_of_the_user_is_refused_and_left_as_it_is(
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
    message = refused(capsys, 'quickstart', *options)
    assert re.search('Choose a separate folder|lies inside the image folder', message)
    assert everything_in(tmp_path) == before


def test_files_of_the_user_in_the_work_dir_or_in_the_folder_of_a_stage_are_never_deleted(
    tmp_path: Path, stages: FakeStages, capsys: pytest.CaptureFixture
) -> None:
    work_dir = tmp_path / 'work'
    notes = work_dir / 'tokenizer' / 'notes.txt'
    notes.parent.mkdir(parents=True)
    notes.touch()
    command = ['--fresh', '--work-dir', str(work_dir)]
    assert "holds 'tokenizer'" in refused(capsys, 'quickstart', *command)
    claim_folder(tmp_path / 'new', TOOL)
    notes.parent.rename(tmp_path / 'new' / 'tokenizer')
    work_dir.rmdir()
    (tmp_path / 'new').rename(work_dir)  # a work dir of the quickstart, the folder of the stage is the user's
    assert "holds 'notes.txt'" in refused(capsys, 'quickstart', *command)
    (work_dir / 'tokenizer' / MARKER).write_text(TOOL)  # the folder is the quickstart's, the file is not
    assert "holds 'notes.txt'" in refused(capsys, 'quickstart', *command)
    assert notes.is_file()
    assert stages.ran == []


def test_everything_that_training_and_testing_write_is_known_to_be_the_stage_s(
    tmp_path: Path, image_folder: Path
) -> None:
    run = Quickstart(ROOT, tmp_path / 'work')
    folder = run.folder('finetune')
    claim_folder(folder, TOOL)
    config = classification_config(tmp_path, image_folder)
    options = ['--cfg-options', 'train_cfg.max_epochs=1']
    run_tool('train', config, '--work-dir', str(folder), *options)
    metrics = str(folder / 'metrics.json')
    run_tool('test', config, str(folder / 'epoch_1.pth'), '--work-dir', str(folder / 'test'), '--out', metrics)
    (folder / 'epoch_2.pth.0123abcd.tmp').touch()  # as a kill leaves it
    found = {str(path.relative_to(folder)) for path in require_removable(folder, TOOL, run.written('finetune'))}
    assert {'epoch_1.pth', 'last_checkpoint', 'metrics.json', 'tiny.py', 'test/tiny.py'} <= found
    remove_folder(folder, TOOL, run.written('finetune'))
    assert not folder.exists()


def start_sleeping_stage(tmp_path: Path) -> tuple[subprocess.Popen, int]:
    """A quickstart whose stage has a child of its own, and that child's process id."""
    stage = 'import subprocess, time; print(subprocess.Popen(["sleep", "100"]).pid, flush=True); time.sleep(100)'
    log = tmp_path / 'log'
    script = (
        'import pathlib, time; from demo.console import call; '
        'from mmbeitv2.errors import one_sentence_errors\n'
        'with one_sentence_errors("quickstart.sh"):\n'
        f'    call("s", ["-c", {stage!r}], pathlib.Path("."), pathlib.Path({str(log)!r}), time.monotonic())'
    )
    process = subprocess.Popen([sys.executable, '-c', script], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not log.exists() or not log.read_text().endswith('\n'):
        assert process.poll() is None
        time.sleep(0.05)
    return process, int(log.read_text())


@pytest.mark.parametrize(
    ('number', 'code', 'line'), [(signal.SIGTERM, 143, 'ended by SIGTERM'), (signal.SIGINT, 130, 'interrupted')]
)
def test_a_signal_ends_the_stage_and_its_children(tmp_path: Path, number: int, code: int, line: str) -> None:
    process, child = start_sleeping_stage(tmp_path)
    process.send_signal(number)
    assert process.wait(timeout=600) == code
    assert process.stderr.read() == f'quickstart.sh: {line}\n'
    state = Path(f'/proc/{child}/stat')
    assert not state.exists() or state.read_text().split()[2] == 'Z'


def test_a_failed_stage_is_told_with_its_own_last_sentence(tmp_path: Path) -> None:
    command = ['-c', 'import sys; print("first", flush=True); sys.exit("train.py: error: there is no image")']
    with pytest.raises(InputError, match='stage pretrain failed: there is no image'):
        console.call('pretrain', command, tmp_path, tmp_path / 'log', time.monotonic())


def test_help_needs_no_environment() -> None:
    command = ['bash', str(ROOT / 'tools' / 'quickstart.sh'), '--data', 'a b', '--help']
    environment = {'PATH': '/usr/bin:/bin', 'PYTHON': sys.executable}
    blocked = 'import sys; sys.modules["mmbeitv2"] = None; import runpy; sys.argv[1:] = ["--help"]; '
    blocked += f'runpy.run_path({str(ROOT / "tools" / "quickstart.py")!r}, run_name="__main__")'
    for each in (command, [sys.executable, '-c', blocked]):
        result = subprocess.run(each, capture_output=True, text=True, cwd='/', env=environment)
        assert result.returncode == 0, result.stderr
        for option in ('--data', '--seg-data', '--work-dir', '--fresh', '--seeds'):
            assert option in result.stdout
