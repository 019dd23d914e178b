"""Checks where the tools that draw a picture write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmbeitv2.errors import InputError


def require_picture(path: Path, sources: Sequence[Path]) -> None:
    """Refuses a picture that cannot be written, or lies in one of the files and folders of images it is made of."""
    from mmbeitv2.fileio.outputs import require_writable

    require_writable(path)
    if path.suffix.lower() not in ('.png', '.jpg', '.pdf', '.svg'):
        raise InputError(f'--out {str(path)!r} must end in .png, .jpg, .pdf or .svg')
    for source in sources:
        if path.resolve().is_relative_to(source.resolve()):
            raise InputError(f'--out {str(path)!r} lies inside the images {str(source)!r}. Choose another path.')
