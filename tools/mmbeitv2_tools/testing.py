"""The implementation of ``tools/test.py``."""

from __future__ import annotations

import argparse
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.evaluator import DumpResults
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmpretrain.engine import VisualizationHook

from mmbeitv2.checkpoints import Checkpoint, loading_tensors_only, read_checkpoint, require_fit
from mmbeitv2.engine import unwrapped
from mmbeitv2.engine.resume_guard import fingerprints
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.outputs import require_writable, require_writable_folder, write_json
from mmbeitv2_tools.data_checks import classes_of
from mmbeitv2_tools.launch import load_config
from mmbeitv2_tools.preflight import checked_runner, describe_run


@loading_tensors_only()
def test(args: argparse.Namespace) -> None:
    """Scores a checkpoint by the test set and the metrics of a config; see ``tools/test.py --help`` for ``args``."""
    cfg = load_config(args)
    is_segmentation = cfg.get('default_scope') == 'mmseg'
    if args.out is not None:
        _check_out(args.out, is_segmentation)
    if args.tta and args.show_dir is not None and not is_segmentation:
        raise InputError(
            '--tta predicts several views of each image, so --show-dir cannot draw. Leave one of them out.'
        )
    if cfg.get('test_evaluator') is None:
        raise InputError(
            f'config {args.config!r} has no test_evaluator, so nothing can be scored. Pass a config that has one.'
        )
    cfg.pop('runner_type', None)  # sharding is for training
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show_dir is not None:
        _enable_pictures(cfg, args)
    if args.tta:
        _enable_tta(cfg, args.config)
    kind = Path(args.out or '').suffix
    if args.out is not None and not kind and not args.check:
        cfg.test_evaluator.output_dir = args.out  # of mmseg's IoUMetric, which makes the folder
    runner = checked_runner(cfg, is_training=False, is_rehearsal=args.check)
    checkpoint = read_checkpoint(args.checkpoint)
    require_fit(unwrapped(runner), checkpoint)
    _require_same_tokenizer(runner, checkpoint)
    _require_same_classes(runner, checkpoint)
    if args.check:
        if runner.rank == 0:
            sys.stdout.write(describe_run(runner, cfg, is_training=False, checkpoint=args.checkpoint))
        return
    del checkpoint  # mmengine reads the file anew, with the averaged weights
    if kind == '.pkl':
        runner.test_loop.evaluator.metrics.append(DumpResults(out_file_path=args.out))
    metrics = runner.test()
    if kind == '.json' and runner.rank == 0:
        write_json(args.out, metrics)


def _check_out(path: str, is_segmentation: bool) -> None:
    """Checks that what ``--out`` asks for is known and can be written."""
    if Path(path).suffix in ('.json', '.pkl'):
        require_writable(path)
    elif is_segmentation and not Path(path).suffix:
        require_writable_folder(path, '--out')
    else:
        raise InputError(
            f'--out {path!r} must end in .json (for metrics) or .pkl (for predictions), or be a folder (for the label '
            'maps of a segmentation)'
        )


def _require_same_classes(runner: Runner, checkpoint: Checkpoint) -> None:
    """Labels are compared with the numbers of predicted classes, so the classes must have the order of the training."""
    about, now = checkpoint.meta.get('dataset_meta'), classes_of(runner.test_loop.dataloader.dataset)
    former = tuple(map(str, (about.get('classes') if isinstance(about, dict) else None) or ()))
    if now is None or len(former) != len(now) or former == now:
        return
    number = next(i for i, names in enumerate(zip(former, now, strict=True)) if names[0] != names[1])
    sentence = (
        f'checkpoint {checkpoint.path!r} was trained on other classes than those of test_dataloader: number {number} '
        f'is {former[number]!r} and {now[number]!r}.'
    )
    if sorted(former) == sorted(now):
        raise InputError(f'{sentence} Put the classes into the order of the training.')
    runner.logger.warning(f'{sentence} This is right only if both names mean the same.')


def _require_same_tokenizer(runner: Runner, checkpoint: Checkpoint) -> None:
    """The codes that a pretraining model predicts are those of its tokenizer, which its checkpoint does not hold."""
    model: Any = unwrapped(runner)
    now = fingerprints(model).get('tokenizer')
    recorded = None if now is None else checkpoint.tokenizer
    if recorded is not None and recorded != now:
        raise InputError(
            f'checkpoint {checkpoint.path!r} was pretrained with another tokenizer ({recorded}) than that of the '
            f'config ({now}). Set model.tokenizer.init_cfg.checkpoint to the tokenizer that it was pretrained with.'
        )


@HOOKS.register_module()
class PicturesHook(VisualizationHook):
    """mmpretrain's ``VisualizationHook``, whose pictures have the two folders of the image in their names, too."""

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Any) -> None:
        renamed = [sample.new() for sample in outputs]
        for sample in renamed:
            if 'img_path' in sample:  # else mmpretrain numbers them
                sample.set_metainfo(dict(img_path='_'.join(Path(sample.img_path).parts[-3:])))
        super().after_test_iter(runner, batch_idx, data_batch, renamed)


def _enable_pictures(cfg: Config, args: argparse.Namespace) -> None:
    """Pictures of the predictions, by the hook of the config's library."""
    require_writable_folder(args.show_dir, '--show-dir')
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    if cfg.get('default_scope') == 'mmseg':
        hook = dict(type='SegVisualizationHook', draw=True)
        visualizer = dict(type='SegLocalVisualizer', save_dir=args.show_dir)
    else:
        hook = dict(type='mmengine.PicturesHook', enable=True, out_dir=args.show_dir)
        visualizer = dict(type='UniversalVisualizer')
    hooks['visualization'] = hook | dict(interval=args.interval)
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
