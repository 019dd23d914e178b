"""How a program ends: one sentence for what a user can mend, a traceback for the rest."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from mmbeitv2_tools.errors import one_sentence_errors
from torch.utils.data import DataLoader, Dataset

from mmbeitv2.errors import InputError, UnreadableImageError


class Unreadable(Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise UnreadableImageError("image 'a.jpg' cannot be read")


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (InputError("config 'a.py' not found.\n  Check the path."), "config 'a.py' not found. Check the path."),
        (PermissionError(errno.EACCES, 'Permission denied', 'w'), "'w': Permission denied"),
        (
            OSError(errno.ENOSPC, 'No space left on device', 'w'),
            "cannot write 'w' (No space left on device). Free some space, or choose another path.",
        ),
    ],
)
def test_a_mistake_of_the_user_is_one_sentence(
    error: Exception, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv('TORCHELASTIC_ERROR_FILE', str(tmp_path / 'error.json'))  # for the summary of torchrun
    with pytest.raises(SystemExit, match='1'), one_sentence_errors('tool.py'):
        raise error
    assert capsys.readouterr().err == f'tool.py: error: {line}\n'
    assert json.loads((tmp_path / 'error.json').read_text())['message'] == f'tool.py: error: {line}'


def test_a_sentence_of_a_data_loading_process_is_the_same(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit), one_sentence_errors('tool.py'):
        next(iter(DataLoader(Unreadable(), num_workers=1)))
    assert capsys.readouterr().err == "tool.py: error: image 'a.jpg' cannot be read\n"


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match='130'), one_sentence_errors('tool.py'):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == 'tool.py: interrupted\n'


@pytest.mark.parametrize(
    'error', [RuntimeError('odd'), SyntaxError('odd'), OSError('odd'), BrokenPipeError(errno.EPIPE, 'of a worker')]
)
def test_what_a_library_raises_passes(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, one_sentence_errors('tool.py'):
        raise error
    assert raised.value is error
