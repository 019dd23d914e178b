"""The part that training and testing share: from the command line to a runner."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, RUNNERS
from mmengine.runner import Runner

from mmbeitv2.errors import InputError
from mmbeitv2.inference.config import read_config
from mmbeitv2_tools.errors import silent_imports
from mmbeitv2_tools.runner import QuietRunner

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# What each launcher calls torch's RANK, WORLD_SIZE and LOCAL_RANK.
_RANK_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
_STARTERS = {
    'pytorch': 'tools/dist_train.sh CONFIG GPUS',
    'slurm': 'tools/slurm_train.sh PARTITION JOB_NAME CONFIG',
    'mpi': 'mpirun',
}


def load_config(args: argparse.Namespace) -> Config:
    """Reads the config file, applies the command line, and prepares for a machine without a GPU.

    Raises:
        InputError: if the file is missing or cannot be parsed, an option does not fit it, or the processes were not
            started by the launcher that ``args`` names.
    """
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    _adapt_loaders(cfg, not args.no_pin_memory, not getattr(args, 'no_persistent_workers', False))
    _pad_whole_images(cfg)
    with silent_imports():  # what the registries would import anyhow
        for package in {'mmbeitv2', cfg.get('default_scope')} & {'mmbeitv2', 'mmseg'}:
            importlib.import_module(f'{package}.datasets')
    if cfg.launcher != 'none':
        _prepare_distributed(cfg)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """Builds the runner that the config names, and its model."""
    notes = cfg.pop('notes', ())
    if 'runner_type' not in cfg:
        runner = QuietRunner.from_cfg(cfg)
    else:
        runner = RUNNERS.build(cfg)
        if isinstance(runner.model, dict):  # a FlexibleRunner would build it when it starts
            runner.model = MODELS.build(runner.model)
    for note in notes:
        runner.logger.info(note)
    return runner


def is_first_process(launcher: str) -> bool:
    """Whether this process has rank 0; known before the processes are connected.

    Args:
        launcher: of the config; the variables that it sets have been checked.
    """
    return launcher == 'none' or int(os.environ[_RANK_VARIABLES[launcher][0]]) == 0


def _adapt_loaders(cfg: Config, pin_memory: bool, persistent_workers: bool) -> None:
    """Fits loaders to the machine: no more workers than cores, no pinned memory without a GPU, no persistent workers
    without workers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    for name in _LOADERS:
        loader = cfg.get(name)
        if not isinstance(loader, dict):
            continue
        if loader.get('num_workers', 0) > cores:
            cfg.notes = [
                *cfg.get('notes', ()),
                f'{name}: {cores} workers, as many as cores, not {loader["num_workers"]}',
            ]
            loader['num_workers'] = cores
        if not (pin_memory and torch.cuda.is_available()):
            loader['pin_memory'] = False
        if loader.get('num_workers') == 0:
            loader.pop('prefetch_factor', None)
        if not persistent_workers or loader.get('num_workers') == 0:
            loader['persistent_workers'] = False


def _pad_whole_images(cfg: Config) -> None:
    """Of an image that the backbone pads to whole patches, mmseg would stretch the logits; its preprocessor's padding
    it cuts off again."""
    model = cfg.get('model') or {}
    backbone, preprocessor = model.get('backbone') or {}, model.get('data_preprocessor') or cfg.get('data_preprocessor')
    is_whole = (model.get('test_cfg') or {}).get('mode') == 'whole'
    kind = MODELS.get(str(backbone.get('type'))) or object
    is_ours = issubclass(kind, MODELS.get('mmbeitv2.BEiTv2ViT'))
    if is_whole and is_ours and isinstance(preprocessor, dict):
        preprocessor.setdefault('test_cfg', dict(size_divisor=backbone.get('patch_size', 16)))


def _prepare_distributed(cfg: Config) -> None:
    """DDP with gradients as views of its buckets; without a GPU by gloo, which mmengine does not set up by itself."""
    names = _RANK_VARIABLES[cfg.launcher]
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise InputError(
            f'--launcher {cfg.launcher} needs the environment variable {missing[0]}, which its launcher sets. Start '
            f'the processes with {_STARTERS[cfg.launcher]}, or leave --launcher out.'
        )
    wrapper = cfg.setdefault(
        'model_wrapper_cfg',
        ConfigDict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        ),
    )
    if torch.cuda.is_available():
        return
    if wrapper.type != 'MMDistributedDataParallel':
        raise InputError(f'{wrapper.type} needs GPUs. Leave model_wrapper_cfg out on CPU.')
    wrapper.device_ids = None
    if dist.is_initialized():
        return
    for own, name in zip(_RANK_VARIABLES['pytorch'], names, strict=True):
        os.environ[own] = os.environ[name]
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_host(cfg.launcher)
    timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 1800)
    if is_first_process(cfg.launcher):
        place = f'{os.environ["MASTER_ADDR"]}:{os.environ["MASTER_PORT"]}'
        sys.stderr.write(f'waiting for {os.environ["WORLD_SIZE"]} process(es) at {place}, at most {timeout} s\n')
    dist.init_process_group('gloo', timeout=timedelta(seconds=timeout))


def _first_host(launcher: str) -> str:
    """The machine that rank 0 runs on, as mmengine finds it under Slurm."""
    nodes = os.environ.get('SLURM_NODELIST')
    if launcher != 'slurm' or nodes is None:
        raise InputError(
            f'--launcher {launcher} needs the environment variable MASTER_ADDR. Set it to the host name of rank 0.'
        )
    command = ['scontrol', 'show', 'hostname', nodes]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
