from __future__ import annotations

from pathlib import Path

import pytest

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.folders import MARKER, claim_folder


def test_a_new_an_empty_and_an_own_folder_are_claimed(tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    for name in ('new', 'empty'):
        for _ in range(2):
            claim_folder(tmp_path / name, 'painter')
        assert (tmp_path / name / MARKER).read_text() == 'painter\n'


@pytest.mark.parametrize('mark', [None, 'plumber\n'])
def test_a_folder_without_the_mark_of_the_tool_is_left_as_it_is(tmp_path: Path, mark: str | None) -> None:
    (tmp_path / 'notes.txt').write_text('of the user')
    if mark is not None:
        (tmp_path / MARKER).write_text(mark)
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="was not made by painter and holds .*'notes.txt'"):
        claim_folder(tmp_path, 'painter')
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


def test_a_file_and_a_mark_that_is_a_link_are_no_folder_of_the_tool(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('painter\n')
    with pytest.raises(InputError, match='exists and is not a folder'):
        claim_folder(tmp_path / 'file', 'painter')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / MARKER).symlink_to(tmp_path / 'file')
    with pytest.raises(InputError, match='was not made by painter'):
        claim_folder(tmp_path / 'folder', 'painter')
