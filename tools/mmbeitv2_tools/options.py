"""Command line options that several tools share; no large library is imported for ``--help``."""

from __future__ import annotations

import argparse
import re

from mmbeitv2.inference.config import add_cfg_options


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that training and testing share, as in OpenMMLab.

    Args:
        description: what the tool does.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--no-pin-memory', action='store_true', help='do not use pinned memory in the dataloaders')
    add_cfg_options(parser)
    parser.add_argument(
        '--check',
        action='store_true',
        help='check the config, data, checkpoints (which are downloaded) and disk, print what would run, and stop',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='how the processes were started'
    )
    parser.add_argument('--only-parse', action='store_true', help=argparse.SUPPRESS)  # for torchrun.sh
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def positive(text: str) -> int:
    """Type of an option: a whole number of at least 1."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """Type of an option: a whole number of at least 0."""
    return _at_least(0, text)


def _at_least(smallest: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = smallest - 1
    if number < smallest:
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number of at least {smallest}')
    return number


def num_bytes(text: str) -> int:
    """Type of an option: a size like 500MB or 1.5GB."""
    match = re.fullmatch(r'(\d+(?:\.\d+)?) ?([KMGT]?)B', text.upper())
    size = int(float(match[1]) * 1000 ** ' KMGT'.index(match[2] or ' ')) if match else 0
    if size < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a size. Write it like 500MB or 1.5GB.')
    return size


def add_fit(parser: argparse.ArgumentParser) -> None:
    """Adds ``--fit``, see :func:`mmbeitv2.datasets.resizing.fit_image`."""
    parser.add_argument(
        '--fit',
        choices=['crop', 'stretch'],
        default='crop',
        help="how an image is brought to the model's size: scaled and center-cropped, or stretched (default: crop)",
    )


def add_num_workers(parser: argparse.ArgumentParser) -> None:
    """Adds ``--num-workers``."""
    parser.add_argument(
        '--num-workers', type=natural, default=2, help='number of processes that load images (default: %(default)s)'
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds ``--device``."""
    parser.add_argument('--device', type=_device, help='cpu, cuda, cuda:1, ... (default: the GPU if there is one)')


def _device(text: str) -> str:
    if not re.fullmatch(r'(cpu|cuda|mps|npu|xpu)(:\d+)?', text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a device. Use cpu, cuda or cuda:NUMBER.')
    return text
