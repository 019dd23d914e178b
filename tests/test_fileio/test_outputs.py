from __future__ import annotations

from pathlib import Path

import pytest

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.outputs import require_writable, require_writable_folder


def test_what_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / 'there.json').write_text('former')
    before = sorted(tmp_path.rglob('*'))
    require_writable(tmp_path / 'new' / 'folder' / 'a.json')
    require_writable(tmp_path / 'there.json')
    require_writable_folder(tmp_path / 'new', '--show-dir')
    assert sorted(tmp_path.rglob('*')) == before
    assert (tmp_path / 'there.json').read_text() == 'former'


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match=r"--json '.*' is a folder. Pass the path of a file"):
        require_writable(tmp_path, '--json')
    with pytest.raises(InputError, match=r"--out '.*/file/x': cannot write to '.*/file' .Not a directory"):
        require_writable(tmp_path / 'file' / 'x' / 'a.json')
    with pytest.raises(InputError, match=r"--show-dir '.*/file': cannot write to"):
        require_writable_folder(tmp_path / 'file', '--show-dir')
    with pytest.raises(InputError, match=r"--out '.' is a folder"):
        require_writable('')
