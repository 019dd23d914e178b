"""The implementation of ``tools/test.py``."""

from __future__ import annotations

import argparse
import json
from copy import deepcopy
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.evaluator import DumpResults

from mmbeitv2.checkpoints import require_fit
from mmbeitv2.engine import unwrapped
from mmbeitv2.errors import InputError
from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.fileio.outputs import require_writable, require_writable_folder
from mmbeitv2_tools.launch import load_config
from mmbeitv2_tools.preflight import checked_runner, show_plan

_PICKLES = ('.pkl', '.pickle')


def test(args: argparse.Namespace) -> None:
    """Scores a checkpoint by the test set and the metrics of a config; see ``tools/test.py --help`` for ``args``."""
    out_item = None if args.out is None else _check_out(args.out, args.out_item)
    if args.out is None and args.out_item is not None:
        raise InputError('--out-item has no effect without --out. Add --out, or leave --out-item out.')
    cfg = load_config(args)
    if args.tta and (args.show or args.show_dir is not None) and cfg.get('default_scope') != 'mmseg':
        raise InputError(
            '--tta cannot be combined with --show or --show-dir, because it predicts several views of each image. '
            'Leave one of them out.'
        )
    if cfg.get('test_evaluator') is None:
        raise InputError(
            f'config {args.config!r} has no test_evaluator, so nothing can be scored. Pass a config that has one.'
        )
    cfg.pop('runner_type', None)  # sharding is for training
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show or args.show_dir is not None:
        _enable_pictures(cfg, args)
    if args.tta:
        _enable_tta(cfg, args.config)
    if out_item == 'label maps':
        _write_label_maps(cfg, args.out)
    runner = checked_runner(cfg, is_training=False, is_rehearsal=args.check)
    require_fit(unwrapped(runner), args.checkpoint)
    if args.check:
        show_plan(runner, cfg, is_training=False, checkpoint=args.checkpoint)
        return
    runner.load_checkpoint(args.checkpoint)
    if out_item == 'predictions':
        runner.test_loop.evaluator.metrics.append(DumpResults(out_file_path=args.out))
    metrics = runner.test()
    if out_item == 'metrics' and runner.rank == 0:
        AtomicBackend().put_text(json.dumps(metrics, default=float), args.out)


def _check_out(path: str, item: str | None) -> str:
    """What ``--out`` asks for: ``metrics``, ``predictions`` or ``label maps``. Checks that it can be written."""
    suffix = Path(path).suffix
    if suffix == '.json' and item != 'pred':
        require_writable(path)
        return 'metrics'
    if suffix in _PICKLES and item != 'metrics':
        require_writable(path)
        return 'predictions'
    if suffix or item is not None:
        raise InputError(
            f'--out {path!r} must end in .json (for metrics) or .pkl (for predictions), or be a folder (for the '
            'label maps of a segmentation)'
        )
    require_writable_folder(path, '--out')
    return 'label maps'


def _write_label_maps(cfg: Config, folder: str) -> None:
    evaluator = cfg.test_evaluator
    if not isinstance(evaluator, dict) or 'IoUMetric' not in str(evaluator.get('type')):
        raise InputError(
            f'--out {folder!r} is a folder, but only segmentation writes label maps to a folder. For this config, '
            'choose a file that ends in .json (metrics) or .pkl (predictions).'
        )
    evaluator['output_dir'] = folder


def _enable_pictures(cfg: Config, args: argparse.Namespace) -> None:
    """Pictures of the predictions, by the hook of the config's library."""
    if args.show_dir is not None:
        require_writable_folder(args.show_dir, '--show-dir')
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    if cfg.get('default_scope') == 'mmseg':
        hook = dict(type='SegVisualizationHook', draw=True, wait_time=args.wait_time)
        visualizer = dict(type='SegLocalVisualizer', save_dir=args.show_dir)
    else:
        hook = dict(type='VisualizationHook', enable=True, out_dir=args.show_dir, wait_time=args.wait_time)
        visualizer = dict(type='UniversalVisualizer')
    hooks['visualization'] = hook | dict(show=args.show, interval=args.interval)
    cfg.visualizer = dict(vis_backends=[dict(type='LocalVisBackend')]) | (cfg.get('visualizer') or {}) | visualizer


def _enable_tta(cfg: Config, path: str) -> None:
    """Test-time augmentation: that of the config; without one, a classifier sees each image and its mirror image."""
    if 'tta_pipeline' not in cfg or 'tta_model' not in cfg:
        if cfg.get('default_scope') == 'mmseg':
            raise InputError(f'config {path!r} has no tta_pipeline and tta_model. Add them, or leave --tta out.')
        pipeline = cfg.test_dataloader.dataset.pipeline
        flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
        augment = dict(type='TestTimeAug', transforms=[flips, [deepcopy(pipeline[-1])]])
        cfg.setdefault('tta_pipeline', [*deepcopy(pipeline[:-1]), augment])
        cfg.setdefault('tta_model', dict(type='mmpretrain.AverageClsScoreTTA'))
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
