from __future__ import annotations

from pathlib import Path

import pytest

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.folders import MARKER, claim_folder, remove_folder

WRITTEN = ('weights.bin', 'logs/*.log')


def make(folder: Path, tool: str = 'painter') -> Path:
    """A folder as the tool leaves it."""
    claim_folder(folder, tool)
    (folder / 'weights.bin').write_text('1')
    (folder / 'logs').mkdir()
    (folder / 'logs' / 'a.log').write_text('2')
    return folder


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob('*') if path.is_file()}


def test_a_folder_of_the_tool_is_deleted_with_what_a_kill_left_and_a_missing_one_is_no_error(tmp_path: Path) -> None:
    folder = make(tmp_path / 'mine')
    for name in ('weights.bin', 'logs/b.log', MARKER):
        (folder / f'{name}.0123abcd.tmp').touch()
    remove_folder(folder, 'painter', WRITTEN)
    remove_folder(tmp_path / 'mine', 'painter', WRITTEN)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', ['weights.bin.tmp', 'notes.txt.0123abcd.tmp', 'logs/notes.txt', 'logs/deeper/a.log'])
def test_what_the_tool_does_not_write_is_never_deleted(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / 'mine')
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text('of the user')
    before = content(folder)
    with pytest.raises(InputError, match=f'holds .*{name}.*which painter did not write'):
        remove_folder(folder, 'painter', WRITTEN)
    assert content(folder) == before


def test_an_empty_folder_of_the_user_is_in_the_way_too(tmp_path: Path) -> None:
    folder = make(tmp_path / 'mine')
    (folder / 'album').mkdir()
    with pytest.raises(InputError, match="holds 'album'"):
        remove_folder(folder, 'painter', WRITTEN)
    assert (folder / 'weights.bin').is_file()


@pytest.mark.parametrize('tool', [None, 'plumber'])
def test_a_folder_without_the_mark_of_the_tool_is_neither_claimed_nor_deleted(tmp_path: Path, tool: str | None) -> None:
    folder = make(tmp_path / 'other', tool or 'painter')
    if tool is None:
        (folder / MARKER).unlink()
    before = content(folder)
    for refused in (lambda: remove_folder(folder, 'painter', WRITTEN), lambda: claim_folder(folder, 'painter')):
        with pytest.raises(InputError, match="was not made by painter and holds .*'logs'"):
            refused()
    assert content(folder) == before


def test_links_are_never_followed(tmp_path: Path) -> None:
    precious = make(tmp_path / 'precious')
    folder = make(tmp_path / 'mine')
    (tmp_path / 'link').symlink_to(precious)
    with pytest.raises(InputError, match='symbolic link'):
        remove_folder(tmp_path / 'link', 'painter', WRITTEN)
    for name in ('logs/b.log', 'logs2'):  # a name that the tool writes, and another
        (folder / name).symlink_to(precious)
        with pytest.raises(InputError, match=f"holds '{name}'"):
            remove_folder(folder, 'painter', WRITTEN)
        (folder / name).unlink()
    assert content(precious) == content(folder)
