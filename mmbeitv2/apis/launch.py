"""What ``tools/train.py`` and ``tools/test.py`` share: from the command line to a runner."""

from __future__ import annotations

import argparse
import os
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, RUNNERS
from mmengine.runner import Runner

from mmbeitv2.apis.config import add_cfg_options, read_config
from mmbeitv2.errors import InputError


def make_parser(description: str) -> argparse.ArgumentParser:
    """The options that training and testing have in common, as in OpenMMLab."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/NAME_OF_CONFIG)')
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='how the processes were started'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """Reads the config file, applies the command line, and prepares for a machine without a GPU.

    Raises:
        InputError: if the file is missing or does not parse, or an option names no place in it.
    """
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    if cfg.launcher != 'none':
        _prepare_distributed(cfg)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """Builds the runner that the config names, and its model."""
    if 'runner_type' not in cfg:
        return Runner.from_cfg(cfg)
    runner = RUNNERS.build(cfg)
    if isinstance(runner.model, dict):  # a FlexibleRunner would build it when it starts
        runner.model = MODELS.build(runner.model)
    return runner


def _prepare_distributed(cfg: Config) -> None:
    """DDP with gradients as views of its buckets; without a GPU by gloo, which mmengine does not set up by itself."""
    wrapper = cfg.setdefault(
        'model_wrapper_cfg',
        ConfigDict(type='MMDistributedDataParallel', broadcast_buffers=False, gradient_as_bucket_view=True),
    )
    if torch.cuda.is_available():
        return
    if wrapper.type != 'MMDistributedDataParallel':
        raise InputError(f'{wrapper.type} needs GPUs: on CPU leave model_wrapper_cfg out')
    wrapper.device_ids = None
    _replace_sync_bn(cfg.model)
    if not dist.is_initialized():
        dist.init_process_group(
            'gloo', timeout=timedelta(seconds=cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 1800))
        )


def _replace_sync_bn(node: object) -> None:
    """SyncBN has no CPU implementation: BN takes its place."""
    if isinstance(node, dict):
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
        for child in node.values():
            _replace_sync_bn(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            _replace_sync_bn(child)
