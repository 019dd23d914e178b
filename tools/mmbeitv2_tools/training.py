"""The implementation of ``tools/train.py``."""

from __future__ import annotations

import argparse
import sys

import torch
from mmengine.config import Config

from mmbeitv2.checkpoints import loading_tensors_only
from mmbeitv2.engine import prepare_resume, unwrapped
from mmbeitv2.errors import InputError
from mmbeitv2_tools.launch import load_config
from mmbeitv2_tools.preflight import checked_runner, describe_run


@loading_tensors_only()
def train(args: argparse.Namespace) -> None:
    """Trains the model of a config; see ``tools/train.py --help`` for ``args``."""
    cfg = load_config(args)
    if args.amp:
        _enable_amp(cfg, args.amp)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.auto_scale_lr:
        _enable_auto_scale_lr(cfg, args.config)
    note = prepare_resume(cfg)
    runner = checked_runner(cfg, is_training=True, is_rehearsal=args.check, allow_changes=args.allow_changes)
    described = describe_run(runner, cfg, is_training=True, checkpoint=cfg.get('load_from'))
    described += f'{note}\n' if note else ''
    if args.check:
        if runner.rank == 0:
            sys.stdout.write(described)
        return
    for line in described.splitlines():
        runner.logger.info(line)
    if args.compile:
        unwrapped(runner).compile()
    runner.train()


def _enable_amp(cfg: Config, dtype: str) -> None:
    """Turns on mixed precision; only float16 needs loss scaling."""
    if not torch.cuda.is_available():
        raise InputError('--amp needs a GPU. Leave --amp out on CPU.')
    if dtype == 'auto':
        dtype = 'bfloat16' if torch.cuda.is_bf16_supported() else 'float16'
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.dtype = dtype
    cfg.optim_wrapper.loss_scale = 'dynamic' if dtype == 'float16' else dict(enabled=False)


def _enable_auto_scale_lr(cfg: Config, path: str) -> None:
    """Scales the learning rate with the batch size; ``eta_min`` of the schedule does not change."""
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise InputError(
            f'config {path!r} does not say which batch size its learning rate is meant for. Add '
            'auto_scale_lr=dict(base_batch_size=...), or leave --auto-scale-lr out.'
        )
    cfg.auto_scale_lr.enable = True
