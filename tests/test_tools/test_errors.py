from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mmengine.hooks  # noqa: F401  (registers them)
import pytest
import torch
from mmbeitv2_tools.errors import one_sentence_errors
from mmengine.logging import MMLogger
from mmengine.registry import HOOKS, MODELS, DefaultScope
from torch.utils.data import DataLoader, Dataset

from mmbeitv2.errors import InputError, UnreadableImageError, doing
from tests.conftest import tiny_vit


def screen(capsys: pytest.CaptureFixture, fail: Callable, code: int = 1) -> str:
    """What the program ``tool.py`` leaves on the screen when ``fail`` is called in it; its exit code is checked."""
    with pytest.raises(SystemExit) as ended, one_sentence_errors('tool.py'):
        fail()
    assert ended.value.code == code
    return capsys.readouterr().err


def raising(error: BaseException) -> Callable:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ('error', 'sentence'),
    [
        (
            InputError("config 'a.py' not found.\n  Check the path."),
            "config 'a.py' not found. Check the path.",
        ),
        (
            OSError(errno.ENOSPC, 'No space left on device', 'w/a.pth'),
            "'w/a.pth': the disk is full. Free some space, then run the same command again.",
        ),
        (
            OSError(errno.EROFS, 'Read-only file system', 'w'),
            "'w': the file system is read-only. Choose a folder on anot",
        ),
        (PermissionError(errno.EACCES, 'Permission denied', 'w'), "'w': permission denied. Change its permissions"),
        (IsADirectoryError(errno.EISDIR, 'Is a directory', 'w'), "'w': it is a folder. Pass the path of a file"),
        (
            NotADirectoryError(errno.ENOTDIR, 'Not a directory', 'w/x'),
            "'w/x': a part of its path is a file, not a fold",
        ),
        (FileNotFoundError(errno.ENOENT, 'No such file', 'x'), "'x': no such file or folder. Check the path"),
        (FileNotFoundError('teacher.pth is missing'), 'teacher.pth is missing'),
        (MemoryError(), 'this machine is out of memory. Use a smaller batch_size'),
        (
            torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to\nallocate'),
            'the GPU is out of memory. Use a smaller',
        ),
        (
            RuntimeError('DataLoader worker (pid 12) is killed by signal: Killed. details'),
            (
                'data-loading process 12 was ended by the system (Killed), most likely because the machine ran out '
                'of memory'
            ),
        ),
        (
            RuntimeError('DataLoader worker (pid 12) is killed by signal: Bus error. It is possible'),
            'a data-loading process ran out of shared memory. Enlarge /dev/shm',
        ),
        (
            RuntimeError('The server socket has failed to listen. port: 29500, useIpv6: false, code: -98, EADDRINUSE'),
            'port 29500 is in use by another program. Set the environment variable PORT to another number',
        ),
    ],
)
def test_a_known_error_is_one_sentence_with_its_remedy(
    error: Exception, sentence: str, capsys: pytest.CaptureFixture
) -> None:
    shown = screen(capsys, raising(error))
    assert shown.startswith(f'tool.py: error: {sentence}')
    assert shown.count('\n') == 1
    assert 'traceback' not in shown.lower()


def test_an_unknown_error_names_the_action_the_reason_and_the_file_of_its_traceback(
    capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        with doing('validating'), doing("saving epoch 7 to 'w'"):
            raise ArithmeticError('first line\n   second line.')

    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    monkeypatch.setattr(MMLogger, '_instance_dict', {})  # no log file of a test before
    start = (
        "tool.py: error: while saving epoch 7 to 'w': first line second line (ArithmeticError). The traceback is in "
    )
    shown = screen(capsys, fail)
    assert shown.startswith(start)
    (file,) = tmp_path.iterdir()
    assert shown == f'{start}{str(file)!r}.\n'
    assert 'in fail\n' in file.read_text()

    monkeypatch.setenv('MMBEITV2_TRACEBACK', '1')
    lines = screen(capsys, fail).splitlines()
    assert lines[0].startswith('Traceback')
    assert lines[-1] == start.partition(' The traceback')[0].removesuffix('.')


def test_sentence_and_traceback_go_to_the_end_of_the_log_file(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    logger = MMLogger.get_instance(str(tmp_path), log_file=str(tmp_path / 'run.log'))
    logger.info('step 1')
    shown = screen(capsys, raising(ArithmeticError('odd')))
    assert f"The traceback is at the end of '{tmp_path / 'run.log'}'" in shown
    log = (tmp_path / 'run.log').read_text()
    assert log.index('step 1') < log.index('ArithmeticError: odd') < log.index(shown)
    MMLogger._instance_dict.popitem()


KNN = 'mmbeitv2.KNNHook'


@pytest.mark.parametrize(
    ('config', 'sentence'),
    [
        (
            dict(type='CheckpointHok'),
            "hook 'CheckpointHok' does not exist. Correct its type (did you mean 'CheckpointHook'?).",
        ),
        (dict(type=KNN[:-1]), f'hook {KNN[:-1]!r} does not exist. Correct its type (did you mean {KNN!r}?).'),
        (
            dict(type='EmptyCacheHook', after_itr=True),
            "EmptyCacheHook has no setting 'after_itr'. Correct or remove it (did you mean 'after_iter'?).",
        ),
        (dict(type='SyncBuffersHook', zzz=-1), "SyncBuffersHook has no setting 'zzz'. Correct or remove it."),
        (dict(type=KNN, bank_dataloader={}), f"{KNN} needs the setting 'query_dataloader'. Add it."),
    ],
)
def test_a_mistyped_component_is_named_with_the_nearest_name(
    config: dict, sentence: str, capsys: pytest.CaptureFixture
) -> None:
    shown = screen(capsys, lambda: HOOKS.build(config))
    assert shown == f'tool.py: error: while building {config["type"]}: {sentence}\n'


def test_the_innermost_component_is_named(capsys: pytest.CaptureFixture) -> None:
    model = dict(type='mmpretrain.ImageClassifier', backbone=tiny_vit(patch_sise=8))
    with DefaultScope.overwrite_default_scope('mmpretrain'):  # whatever ran before
        shown = screen(capsys, lambda: MODELS.build(model))
    assert "BEiTv2ViT has no setting 'patch_sise'. Correct or remove it (did you mean 'patch_size'?)" in shown


class Spoilt(Dataset):
    """Raises an error for every sample."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise self.error


@pytest.mark.parametrize(
    ('error', 'sentence'),
    [
        (
            UnreadableImageError("Cannot read image 'a.jpg': the file\nis truncated."),
            "Cannot read image 'a.jpg': the file is truncated.",
        ),
        (
            PermissionError(errno.EACCES, 'Permission denied', 'a.jpg'),
            "'a.jpg': permission denied. Change its permissions, or",
        ),
        (KeyError('img_path'), 'img_path (KeyError). The traceback is in'),
        (ArithmeticError('a: b'), 'a: b (ArithmeticError). The traceback is in'),
    ],
)
def test_an_error_in_a_data_loading_process_reads_as_if_it_came_up_here(
    error: Exception, sentence: str, capsys: pytest.CaptureFixture
) -> None:
    shown = screen(capsys, lambda: next(iter(DataLoader(Spoilt(error), num_workers=1))))
    assert shown.startswith(f'tool.py: error: {sentence}')
    assert shown.count('\n') == 1


def test_a_program_may_end_by_itself(capsys: pytest.CaptureFixture) -> None:
    assert screen(capsys, lambda: sys.exit(2), code=2) == ''


@pytest.mark.parametrize(
    ('number', 'line'),
    [(signal.SIGINT, 'interrupted'), (signal.SIGTERM, 'ended by SIGTERM'), (signal.SIGHUP, 'ended by SIGHUP')],
)
def test_a_signal_ends_the_program_with_one_line_and_handlers_are_given_back(
    number: int, line: str, capsys: pytest.CaptureFixture
) -> None:
    tidied = []

    def fail() -> None:
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            os.kill(os.getpid(), number)  # a second one does not disturb the tidying up
            tidied.append(True)

    handler = signal.getsignal(number)
    assert screen(capsys, fail, code=128 + number) == f'tool.py: {line}\n'
    assert tidied
    assert signal.getsignal(number) == handler
    assert logging.raiseExceptions


PROGRAM = """
import sys, time
from mmbeitv2.errors import one_sentence_errors, signals
signals.GRACE = 0.5
with one_sentence_errors('tool.py'):
    if sys.argv[1] == 'hang':
        print('ready', flush=True)
        try:
            time.sleep(100)
        finally:
            time.sleep(100)
    for _ in range(10**6):
        print('line')
"""


def test_an_interrupt_that_a_library_turned_into_another_error_is_an_interrupt(capsys: pytest.CaptureFixture) -> None:
    def fail() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
        except BaseException:  # as mmengine does where it formats a config
            raise SyntaxError('Failed to format the config file')  # noqa: B904

    assert screen(capsys, fail, code=130) == 'tool.py: interrupted\n'


def test_a_program_that_hangs_ends_all_the_same() -> None:
    process = subprocess.Popen([sys.executable, '-c', PROGRAM, 'hang'], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=600) == 143


def test_a_reader_that_has_gone_ends_the_program_without_a_word() -> None:
    process = subprocess.Popen(
        [sys.executable, '-c', PROGRAM, 'print'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ''
    assert process.wait(timeout=600) == 141
