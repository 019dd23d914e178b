"""Reading config files."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmbeitv2.errors import InputError


def read_config(path: str) -> Config:
    """A config file.

    Raises:
        InputError: if it is missing or does not parse.
    """
    if not Path(path).is_file():
        raise InputError(f'config {path!r} not found: give an existing file')
    try:
        return Config.fromfile(path)
    except Exception as error:  # whatever the code in a config raises
        reason = ' '.join(str(error).split())
        raise InputError(f'config {path!r} does not parse ({type(error).__name__}: {reason}): mend the file') from error
