"""Command line options that several tools share; no large library is imported for ``--help``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any


def positive(text: str) -> int:
    """Type of an option: a whole number of at least 1."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """Type of an option: a whole number of at least 0."""
    return _at_least(0, text)


def _at_least(smallest: int, text: str) -> int:
    if not text.isdecimal() or int(text) < smallest:
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number of at least {smallest}')
    return int(text)


def _device(text: str) -> str:
    if not re.fullmatch(r'(cpu|cuda|mps|npu|xpu)(:\d+)?', text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a device. Use cpu, cuda or cuda:NUMBER.')
    return text


_SHARED: dict[str, dict[str, Any]] = {
    'config': dict(help='config file'),
    'checkpoint': dict(help='its weights: a path, an address, or the name of a published model'),
    'images': dict(type=Path, metavar='DIR', help='folder of images, of any depth'),
    '--fit': dict(
        choices=['crop', 'stretch'],
        default='crop',
        help="how an image is brought to the model's size: scaled and center-cropped, or stretched (default: crop)",
    ),
    '--num-workers': dict(type=natural, default=2, help='number of processes that load images (default: %(default)s)'),
    '--device': dict(type=_device, help='cpu, cuda, cuda:1, ... (default: the GPU if there is one)'),
    '--seed': dict(type=natural, default=0, help='seed of the random choice (default: %(default)s)'),
    '--num-images': dict(type=positive, default=6, help='number of images to draw, at random (default: %(default)s)'),
    '--out': dict(type=Path, required=True, metavar='FILE.png', help='picture to write'),
    '--json': dict(type=Path, metavar='FILE.json', help='write the numbers to this file'),
}


def make_parser(description: str | None, *shared: str) -> argparse.ArgumentParser:
    """A parser of a tool.

    Args:
        description: what the tool does.
        shared: names of the options that it shares with others: ``config``, ``checkpoint``, ``images``, ``--fit``,
            ``--num-workers``, ``--device``, ``--seed``, ``--num-images``, ``--out``, ``--json``, ``--cfg-options``.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in shared:
        if name == '--cfg-options':
            what = 'override settings of the config, e.g. train_dataloader.batch_size=64 or val_dataloader=None'
            parser.add_argument('--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help=what)
        else:
            parser.add_argument(name, **_SHARED[name])
    return parser


def make_run_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that training and testing share, as in OpenMMLab."""
    parser = make_parser(description, 'config', '--cfg-options')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument(
        '--check',
        action='store_true',
        help='check the config, data, checkpoints (which are downloaded) and disk, print what would run, and stop',
    )
    add_launcher(parser)
    return parser


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Adds what a tool needs that torchrun.sh starts."""
    started = 'how the processes were started: pytorch means by torchrun'
    parser.add_argument('--launcher', choices=['none', 'pytorch'], default='none', help=started)
    parser.add_argument('--only-parse', action='store_true', help=argparse.SUPPRESS)  # for torchrun.sh
