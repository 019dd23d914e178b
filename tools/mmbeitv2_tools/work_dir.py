"""Finds the config and the checkpoints in the work dir of a finished run."""

from __future__ import annotations

from pathlib import Path

from mmbeitv2.engine.resuming import last_checkpoint
from mmbeitv2.errors import InputError


def config_in(work_dir: Path) -> Path:
    """The config that a runner wrote into its work dir.

    Raises:
        InputError: if there is no such folder, no config in it, or more than one.
    """
    if not work_dir.is_dir():
        raise InputError(f'work dir {str(work_dir)!r} not found. Pass the work dir of a run.')
    configs = sorted(work_dir.glob('*.py'))
    if not configs:
        raise InputError(f'work dir {str(work_dir)!r} holds no config (*.py). Pass --config FILE, or another work dir.')
    if len(configs) > 1:
        names = ', '.join(path.name for path in configs)
        raise InputError(f'work dir {str(work_dir)!r} holds several configs ({names}). Choose one with --config FILE.')
    return configs[0]


def checkpoint_in(work_dir: Path) -> Path:
    """The best checkpoint of a work dir (the newest if there are several), or else the last one.

    Raises:
        InputError: if there is none.
    """
    best = sorted(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    if best:
        return best[-1]
    path = last_checkpoint(work_dir)
    if path is None:
        raise InputError(f'work dir {str(work_dir)!r} holds no checkpoint. Train first, or pass --checkpoint FILE.')
    if not path.is_file():
        raise InputError(f'the last checkpoint {str(path)!r} does not exist. Pass --checkpoint FILE.')
    return path
