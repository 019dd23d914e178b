"""The part that training and testing share: from the command line to a runner."""

from __future__ import annotations

import argparse
import os
import warnings
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, RUNNERS
from mmengine.runner import Runner

from mmbeitv2.errors import InputError
from mmbeitv2.inference.config import read_config
from mmbeitv2.inference.loading import pad_whole_images
from mmbeitv2_tools.runner import SafeRunner


def load_config(args: argparse.Namespace) -> Config:
    """Reads the config file, applies the command line, and prepares for a machine without a GPU.

    Raises:
        InputError: if the file is missing or cannot be parsed, an option does not fit it, or torchrun did not start the
            processes although ``args`` says so.
    """
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    _adapt_loaders(cfg)
    if cfg.launcher != 'none':
        _prepare_distributed(cfg)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """Builds the runner that the config names, and its model."""
    if 'runner_type' not in cfg:
        runner = SafeRunner.from_cfg(cfg)
    else:
        runner = RUNNERS.build(cfg)
        if isinstance(runner.model, dict):  # a FlexibleRunner would build it when it starts
            runner.model = MODELS.build(runner.model)
    pad_whole_images(runner.model)
    return runner


def is_first_process(cfg: Config) -> bool:
    """Whether this process has rank 0; known before the processes are connected."""
    return cfg.launcher == 'none' or os.environ['RANK'] == '0'


def _adapt_loaders(cfg: Config) -> None:
    """Fits loaders to the machine: no more workers than cores, and no persistent ones without workers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name) or ConfigDict()
        if (workers := loader.get('num_workers', 0)) > cores:
            warnings.warn(f'{name}: {cores} workers, as many as cores, not {workers}', stacklevel=2)
            loader.num_workers = cores
        elif workers == 0 and loader:
            loader.persistent_workers = False  # which torch refuses


def join_processes(device: str | None) -> tuple[int, str | None]:
    """Connects processes that share images out and only wait for each other at the end.

    Returns:
        Rank of this process, and its device: ``device``, or else its GPU.
    """
    _require_torchrun()
    dist.init_process_group('gloo', timeout=timedelta(days=30))
    own = f'cuda:{os.environ["LOCAL_RANK"]}' if torch.cuda.is_available() else None
    return dist.get_rank(), device or own


def _require_torchrun() -> None:
    if 'RANK' not in os.environ:
        raise InputError(
            '--launcher pytorch needs the environment variable RANK, which torchrun sets. Start the processes with '
            'tools/dist_train.sh CONFIG GPUS, or leave --launcher out.'
        )


def _prepare_distributed(cfg: Config) -> None:
    """DDP with gradients as views of its buckets; without a GPU by gloo, which mmengine does not set up by itself."""
    _require_torchrun()
    wrapper = cfg.setdefault(
        'model_wrapper_cfg',
        ConfigDict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        ),
    )
    if not torch.cuda.is_available():
        wrapper.device_ids = None
        if not dist.is_initialized():
            timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 1800)
            dist.init_process_group('gloo', timeout=timedelta(seconds=timeout))
