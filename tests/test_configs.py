"""A config is a promise: every one builds at full size, and its numbers are the paper's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope

from tests.conftest import ROOT

CONFIGS = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)


def load(name: str | Path) -> Config:
    cfg = Config.fromfile(str(ROOT / 'configs' / name))
    init_default_scope(cfg.default_scope)
    return cfg


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: str(path.relative_to(ROOT / 'configs')))
def test_every_config_builds(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith('# '), 'the first line must name the source'
    cfg = load(path)
    # Only what must be fetched is left out: weights, and the teacher that consists of them.
    if cfg.model.type == 'mmbeitv2.VQKD':
        cfg.model.teacher, cfg.model.target_dims = None, 512
    for part in ('backbone', 'tokenizer'):
        if part in cfg.model:
            cfg.model[part].init_cfg = None
    if cfg.model.type != 'mmbeitv2.VQKD' and 'data_preprocessor' not in cfg.model:
        cfg.model.data_preprocessor = dict(type='ClsDataPreprocessor', **cfg.data_preprocessor)
    with torch.device('meta') if cfg.model.type == 'mmbeitv2.VQKD' else torch.device('cpu'):
        model = MODELS.build(cfg.model)
    assert sum(parameter.numel() for parameter in model.parameters()) > 1e5
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for transform in (cfg.get(loader) or dict(dataset=dict(pipeline=[])))['dataset']['pipeline']:
            TRANSFORMS.build(transform)


def peak_and_end(cfg: Config) -> tuple[int, int]:
    """Epochs, or iterations, of the warm-up and of the whole."""
    warmup, decay = cfg.param_scheduler
    assert warmup.end == decay.begin
    assert decay.get('T_max', decay.end - decay.begin) == decay.end - decay.begin
    return warmup.end, decay.end


def test_tokenizer_has_the_numbers_of_table_8() -> None:
    cfg = load('tokenizer/vqkd_vit-b_3x768x12-clip_100e.py')
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.betas, optimizer.weight_decay) == (2e-4, (0.9, 0.99), 1e-4)
    assert cfg.param_scheduler[1].eta_min == 1e-5
    assert peak_and_end(cfg) == (5, 100) == (5, cfg.train_cfg.max_epochs)
    assert cfg.train_dataloader.batch_size * 8 == 512
    assert (cfg.model.quantizer.num_codes, cfg.model.quantizer.code_dim) == (8192, 32)
    assert cfg.model.decoder.arch.depth == 3
    assert load('tokenizer/vqkd_vit-b_1x768x12-clip_100e.py').model.decoder.arch.depth == 1
    assert cfg.model.teacher.model == 'ViT-B-16-quickgelu'


@pytest.mark.parametrize(('epochs', 'beta', 'drop_path'), [(1600, 0.999, 0.1), (300, 0.98, 0.0)])
def test_pretraining_has_the_numbers_of_table_9(epochs: int, beta: float, drop_path: float) -> None:
    cfg = load(f'beitv2_vit-b_{epochs}e.py')
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, tuple(optimizer.betas), optimizer.weight_decay) == (1.5e-3, (0.9, beta), 0.05)
    assert cfg.optim_wrapper.clip_grad.max_norm == 3.0
    assert cfg.param_scheduler[1].eta_min == 1e-5
    assert peak_and_end(cfg) == (10, epochs) == (10, cfg.train_cfg.max_epochs)
    assert cfg.train_dataloader.batch_size * 8 == 2048
    assert cfg.model.backbone.drop_path_rate == cfg.model.neck.drop_path_rate == drop_path
    assert cfg.model.backbone.layer_scale_init_value == 0.1
    assert (cfg.model.neck.start_layer, cfg.model.neck.depth) == (9, 2)
    mask = next(step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'mmbeitv2.BlockMaskGenerator')
    assert (mask.grid_size, mask.num_masked, mask.min_block) == (14, 75, 16)


def test_finetuning_has_the_numbers_of_table_10() -> None:
    cfg = load('classification/beitv2-1600e_vit-b_ft-100e_in1k.py')
    assert (cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.weight_decay) == (5e-4, 0.05)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.65
    assert cfg.param_scheduler[1].eta_min_ratio * 5e-4 == pytest.approx(1e-6)
    assert peak_and_end(cfg) == (20, 100)
    assert cfg.train_dataloader.batch_size * 8 == 1024
    assert [augment.alpha for augment in cfg.model.train_cfg.augments] == [0.8, 1.0]
    assert cfg.model.backbone.drop_path_rate == 0.1


def test_segmentation_has_the_numbers_of_table_11() -> None:
    cfg = load('segmentation/beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py')
    assert peak_and_end(cfg) == (1500, 160000) == (1500, cfg.train_cfg.max_iters)
    assert cfg.train_dataloader.batch_size * 8 == 16
    assert cfg.model.backbone.out_indices == (3, 5, 7, 11)
    assert (cfg.model.test_cfg.mode, cfg.model.test_cfg.stride) == ('slide', (341, 341))
    assert cfg.optim_wrapper.optimizer.lr in (5e-5, 8e-5, 1e-4)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate in (0.75, 0.8, 0.85)
