"""Checks where the tools that draw a picture write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def require_picture(path: Path, sources: Sequence[Path]) -> None:
    """Checks that a picture can be written, and is not among the files and folders of images that it is made of.

    Raises:
        InputError: naming ``path`` and what is wrong with it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from mmbeitv2.errors import InputError
    from mmbeitv2.fileio.outputs import require_writable

    require_writable(path)
    formats = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise InputError(f'--out {str(path)!r} must end in one of .{", .".join(sorted(formats))}')
    for source in sources:
        if path.resolve().is_relative_to(source.resolve()):
            raise InputError(f'--out {str(path)!r} lies inside the images {str(source)!r}. Choose another path.')
