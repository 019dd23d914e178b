"""The options that training and testing have in common, as in OpenMMLab; nothing heavy is imported for ``--help``."""

from __future__ import annotations

import argparse

from mmbeitv2.apis.config import add_cfg_options


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of both; the description is that of the tool."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/NAME_OF_CONFIG)')
    parser.add_argument('--no-pin-memory', action='store_true', help='do not use pinned memory in the data loaders')
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='how the processes were started'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser
