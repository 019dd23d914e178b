"""Reading config files."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmbeitv2.errors import InputError


def read_config(path: str, cfg_options: dict | None = None) -> Config:
    """A config file, with the settings of ``--cfg-options`` in place of its own.

    Raises:
        InputError: if it is missing or does not parse, or an option names no place in it.
    """
    if not Path(path).is_file():
        raise InputError(f'config {path!r} not found: give an existing file')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # whatever the code in a config raises
        reason = ' '.join(str(error).split())
        raise InputError(f'config {path!r} does not parse ({type(error).__name__}: {reason}): mend the file') from error
    return merge_options(cfg, cfg_options)


def merge_options(cfg: Config, cfg_options: dict | None) -> Config:
    """Puts the settings of ``--cfg-options`` in place of the config's own.

    Raises:
        InputError: if an option names no place in it.
    """
    try:
        cfg.merge_from_dict(cfg_options or {})
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(
            f'--cfg-options does not fit {cfg.filename!r} ({error}): name keys that the config has'
        ) from error
    return cfg
