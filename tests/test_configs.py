"""A config is a promise: every one is plain data and builds at full size, and its numbers are the paper's."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, TRANSFORMS, init_default_scope

from mmbeitv2.backbones import ARCH
from mmbeitv2.checkpoints.zoo import is_published
from mmbeitv2.inference.config import read_config
from tests.conftest import ROOT

FILES = sorted([*(ROOT / 'configs').rglob('*.py'), *(ROOT / 'demo' / 'configs').rglob('*.py')])
CONFIGS = [path for path in FILES if '_base_' not in path.parts and path.stem != 'bands']


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def load(name: str | Path) -> Config:
    cfg = Config.fromfile(str(ROOT / 'configs' / name))
    init_default_scope(cfg.default_scope)
    return cfg


def depth(path: Path) -> int:
    """Levels of files that a config inherits from."""
    nodes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    values = [ast.literal_eval(node.value) for node in nodes if ast.unparse(node.targets[0]) == '_base_']
    names = [name for value in values for name in ([value] if isinstance(value, str) else value)]
    return max((1 + depth(path.parent / name) for name in names), default=0)


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_a_config_is_data_that_names_its_source_and_is_two_levels_deep(path: Path) -> None:
    text = path.read_text()
    assert text.startswith('# ')
    assert '{{$' not in text
    code = (
        ast.FunctionDef,
        ast.Lambda,
        ast.ClassDef,
        ast.Import,
        ast.ImportFrom,
        ast.For,
        ast.While,
        ast.With,
        ast.Try,
    )
    assert not [ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, code)]
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)}
    assert called <= {'dict', 'len', 'list', 'range', 'round', 'zip'}
    assert depth(path) <= 2


@pytest.mark.parametrize('path', CONFIGS, ids=name_of)
def test_every_config_builds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # from where demo.small_clip is found
    cfg = load(path)
    # Only what must be fetched is left out: weights, and the teacher that consists of them.
    for part in (cfg.model, cfg.model.get('tokenizer') or {}):
        if part.get('type') in ('mmbeitv2.VQKD', 'mmbeitv2.KMeansTokenizer'):
            part.teacher, part.target_dims = None, 512
    for part in ('backbone', 'tokenizer'):
        if cfg.model.get(part):
            cfg.model[part].init_cfg = None
    if cfg.model.type != 'mmbeitv2.VQKD' and 'data_preprocessor' not in cfg.model:
        cfg.model.data_preprocessor = dict(type='ClsDataPreprocessor', **cfg.data_preprocessor)
    monkeypatch.setattr(BaseModule, 'init_weights', lambda self: None)  # which a tokenizer calls as it is built
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    weights = (*model.parameters(), *model.buffers())  # a k-means tokenizer has a codebook only
    assert sum(weight.numel() for weight in weights) > (3e4 if 'kmeans' in path.stem else 1e5)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for transform in (cfg.get(loader) or dict(dataset=dict(pipeline=[])))['dataset']['pipeline']:
            TRANSFORMS.build(transform)


def peak_and_end(cfg: Config) -> tuple[int, int]:
    """Epochs, or iterations, of the warm-up and of the whole."""
    warmup, decay = cfg.param_scheduler
    assert warmup.end == decay.begin
    assert decay.get('T_max', decay.end - decay.begin) == decay.end - decay.begin
    return warmup.end, decay.end


def test_mask_decoding_has_the_numbers_of_eomts_recipe() -> None:
    cfg = load('segmentation/beitv2-1600e_vit-b_eomt_40k_ade20k-512x512.py')
    backbone, optim = cfg.model.backbone, cfg.optim_wrapper
    assert (backbone.num_queries, backbone.query_blocks, backbone.num_upscales) == (100, 3, 2)
    assert (optim.optimizer.lr, optim.optimizer.weight_decay, optim.clip_grad.max_norm) == (1e-4, 0.05, 0.01)
    assert optim.paramwise_cfg.layer_decay_rate == 0.8
    assert peak_and_end(cfg) == (1500, 40000) == (1500, cfg.train_cfg.max_iters)
    assert cfg.param_scheduler[1].power == 0.9
    assert cfg.train_dataloader.batch_size * 8 == 16


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
    release = load('tokenizer/vqkd_vit-b_3x768x12-clip_100e_release.py')
    assert peak_and_end(release) == (10, 100)
    assert release.train_cfg.val_interval == 1
    fit, crop = release.val_dataloader.dataset.pipeline[1:3]
    assert (fit.scale, crop.crop_size) == (256, 224)
    assert release.val_dataloader == release.test_dataloader
    for part in ('model', 'optim_wrapper', 'train_dataloader'):
        assert release[part] == cfg[part]


@pytest.mark.parametrize(('epochs', 'beta', 'drop_path'), [(1600, 0.999, 0.1), (300, 0.98, 0.0)])
@pytest.mark.parametrize(
    ('arch', 'layers', 'layer', 'scale'),
    [
        ('s', (384, 12, 6), 9, 0.1),  # not in the paper: the recipe of ViT-B
        ('b', (768, 12, 12), 9, 0.1),
        ('l', (1024, 24, 16), 21, 1e-5),
    ],
)
def test_pretraining_has_the_numbers_of_table_9(
    epochs: int, beta: float, drop_path: float, arch: str, layers: tuple, layer: int, scale: float
) -> None:
    cfg = load(f'beitv2_vit-{arch}_{epochs}e.py')
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, tuple(optimizer.betas), optimizer.weight_decay) == (1.5e-3, (0.9, beta), 0.05)
    assert cfg.optim_wrapper.clip_grad.max_norm == 3.0
    assert cfg.param_scheduler[1].eta_min == 1e-5
    assert peak_and_end(cfg) == (10, epochs) == (10, cfg.train_cfg.max_epochs)
    assert cfg.train_dataloader.batch_size * 8 == 2048
    assert (cfg.model.backbone.drop_path_rate, cfg.model.backbone.layer_scale_init_value) == (drop_path, scale)
    assert cfg.model.neck == dict(type='mmbeitv2.CLSAggregationNeck', depth=2)  # the rest is the backbone's
    assert cfg.model.backbone.out_indices == (layer - 1, layers[1] - 1)
    arch_of = cfg.model.backbone.arch
    assert (ARCH[arch_of] if isinstance(arch_of, str) else tuple(arch_of.values())) == layers
    mask = next(step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'mmbeitv2.BlockMaskGenerator')
    assert (mask.grid_size, mask.num_masked, mask.min_block) == (14, 75, 16)


FINETUNING = [
    # name, checkpoint, lr, layer decay, drop path, warm-up, epochs, mixing
    ('beitv2-300e_vit-b_ft-100e_in1k', 'beitv2_vit-b_300e', 5e-4, 0.65, 0.1, 20, 100, True),  # table 10
    ('beitv2-1600e_vit-b_ft-100e_in1k', 'beitv2_vit-b_1600e', 5e-4, 0.65, 0.1, 20, 100, True),
    ('beitv2-300e_vit-l_ft-50e_in1k', 'beitv2_vit-l_300e', 5e-4, 0.8, 0.2, 5, 50, True),
    ('beitv2-1600e_vit-l_ft-50e_in1k', 'beitv2_vit-l_1600e', 5e-4, 0.8, 0.2, 5, 50, True),
    ('beitv2-1600e_vit-b_ft-100e_in1k_release', 'beitv2_vit-b_1600e', 5e-4, 0.6, 0.2, 20, 100, True),  # the reference
    ('beitv2-1600e_vit-l_ft-50e_in1k_release', 'beitv2_vit-l_1600e', 2e-4, 0.8, 0.2, 5, 50, True),
    ('beitv2-1600e_vit-b_ft-90e_in21k', 'beitv2_vit-b_1600e', 6e-4, 0.75, 0.1, 20, 90, True),
    ('beitv2-1600e_vit-l_ft-90e_in21k', 'beitv2_vit-l_1600e', 6e-4, 0.75, 0.2, 20, 90, True),
    ('beitv2-1600e-in21k_vit-b_ft-30e_in1k', 'vit-b_ft-90e_in21k', 5e-5, 0.75, 0.1, 20, 30, False),
    ('beitv2-1600e-in21k_vit-l_ft-20e_in1k', 'vit-l_ft-90e_in21k', 7e-5, 0.8, 0.25, 5, 20, False),
]


@pytest.mark.parametrize(
    ('name', 'checkpoint', 'lr', 'decay', 'drop_path', 'warmup', 'epochs', 'is_mixing'),
    FINETUNING,
    ids=str,
)
def test_finetuning_has_the_numbers_of_table_10_or_the_release(
    name: str,
    checkpoint: str,
    lr: float,
    decay: float,
    drop_path: float,
    warmup: int,
    epochs: int,
    is_mixing: bool,
) -> None:
    cfg = load(f'classification/{name}.py')
    assert (cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.weight_decay) == (lr, 0.05)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == decay
    assert cfg.param_scheduler[1].eta_min_ratio * lr == pytest.approx(1e-6, rel=1e-3)
    assert peak_and_end(cfg) == (warmup, epochs) == (warmup, cfg.train_cfg.max_epochs)
    classes, gpus = (21841, 32) if name.endswith('in21k') else (1000, 8)
    assert cfg.train_dataloader.batch_size * gpus == (4096 if gpus == 32 else 1024)
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == classes
    augments = cfg.model.train_cfg.augments
    assert [augment.alpha for augment in augments] == [0.8, 1.0] if is_mixing else augments is None
    backbone = cfg.model.backbone
    assert (backbone.drop_path_rate, backbone.layer_scale_init_value) == (drop_path, 0.1 if 'vit-b' in name else 1e-5)
    assert checkpoint in backbone.init_cfg.checkpoint
    assert cfg.model.head.loss.label_smooth_val == 0.1


@pytest.mark.parametrize('arch', ['b_ft-100e', 'l_ft-50e'])
@pytest.mark.parametrize('variant', ['a', 'r', 'sketch'])
def test_robustness_is_scored_over_the_classes_that_there_are(arch: str, variant: str) -> None:
    cfg = load(f'classification/beitv2-1600e_vit-{arch}_imagenet-{variant}.py')
    assert cfg.test_dataloader.dataset.type == 'mmbeitv2.ImageNetVariant'
    assert cfg.test_dataloader.dataset.data_root == f'data/imagenet-{variant}'
    assert cfg.test_dataloader.dataset.pipeline == cfg.val_dataloader.dataset.pipeline
    assert cfg.test_evaluator.type == 'mmbeitv2.SubsetAccuracy'


@pytest.mark.parametrize(
    ('name', 'lr', 'decay', 'drop_path'),
    [
        ('beitv2-300e_vit-b_{}', 8e-5, 0.8, 0.1),  # table 11
        ('beitv2-1600e_vit-b_{}', 8e-5, 0.8, 0.1),
        ('beitv2-300e_vit-l_{}', 8e-5, 0.8, 0.2),
        ('beitv2-1600e_vit-l_{}', 8e-5, 0.8, 0.2),
        ('beitv2-1600e-in21k_vit-b_{}', 8e-5, 0.8, 0.1),
        ('beitv2-1600e-in21k_vit-l_{}', 8e-5, 0.8, 0.2),
        ('beitv2-1600e_vit-b_{640}', 8e-5, 0.8, 0.1),
        ('beitv2-1600e_vit-l_{640}', 8e-5, 0.8, 0.2),
        ('beitv2-1600e-in21k_vit-b_{640}', 8e-5, 0.8, 0.1),
        ('beitv2-1600e-in21k_vit-l_{640}', 8e-5, 0.8, 0.2),
        ('beitv2-1600e_vit-b_{}_release', 5e-5, 0.75, 0.15),  # the reference
        ('beitv2-1600e_vit-l_{}_release', 4e-5, 0.9, 0.2),
        ('beitv2-1600e-in21k_vit-b_{}_release', 5e-5, 0.85, 0.15),
        ('beitv2-1600e-in21k_vit-l_{}_release', 3e-5, 0.9, 0.2),
        ('beit-150e_vit-b_{}', 7e-4, 0.65, 0.1),
        ('beit-150e-in21k_vit-b_{}', 3e-5, 0.9, 0.1),
        ('beit-150e-in21k_vit-l_{}', 2e-5, 0.95, 0.2),
        ('beit-150e-in21k_vit-b_{640}', 3e-5, 0.9, 0.1),
        ('beit-150e-in21k_vit-l_{640}', 2e-5, 0.95, 0.2),
    ],
)
def test_segmentation_has_the_numbers_of_table_11_or_the_release(
    name: str, lr: float, decay: float, drop_path: float
) -> None:
    side = 640 if '{640}' in name else 512
    recipe = f'upernet_160k_ade20k-{side}x{side}'
    cfg = load(f'segmentation/{name.replace("{640}", "{}").format(recipe)}.py')
    assert peak_and_end(cfg) == (1500, 160000) == (1500, cfg.train_cfg.max_iters)
    assert cfg.train_dataloader.batch_size * 8 == 16
    is_base, is_first = 'vit-b' in name, name.startswith('beit-')
    assert cfg.model.backbone.out_indices == ((3, 5, 7, 11) if is_base else (7, 11, 15, 23))
    widths = [768] * 4 if is_base else [1024] * 4
    assert (cfg.model.decode_head.in_channels, cfg.model.neck.embed_dim) == (widths, widths[0])
    assert (cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.paramwise_cfg.layer_decay_rate) == (lr, decay)
    assert cfg.model.backbone.drop_path_rate == drop_path
    large_scale = 1e-6 if name.endswith('_release') or is_first else 1e-5
    assert cfg.model.backbone.layer_scale_init_value == (0.1 if is_base else large_scale)
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.05
    assert cfg.param_scheduler[0].start_factor == 1e-6
    assert (cfg.param_scheduler[1].power, cfg.param_scheduler[1].eta_min) == (1.0, 0.0)
    pretrained, arch = name.split('_')[:2]
    checkpoint = cfg.model.backbone.init_cfg.checkpoint
    if 'in21k' in pretrained:
        assert f'{pretrained.removesuffix("-in21k")}_{arch}_ft-90e_in21k' in checkpoint
    else:
        assert f'{pretrained.replace("-", f"_{arch}_", 1)}' in checkpoint
    # One size in all places: crops, positions, windows of the slide test, and what --tta scales by 0.5 to 1.75.
    assert (cfg.model.test_cfg.mode, cfg.model.test_cfg.crop_size) == ('slide', (side, side))
    assert cfg.model.test_cfg.stride == ((426, 426) if side == 640 else (341, 341))
    assert (cfg.model.backbone.img_size, cfg.model.data_preprocessor.size) == (side, (side, side))
    train, test = cfg.train_dataloader.dataset.pipeline, cfg.test_dataloader.dataset.pipeline
    assert train[3].scale == test[1].scale == (4 * side, side)
    assert train[4].crop_size == (side, side)
    assert cfg.val_dataloader.dataset.pipeline == test
    flips = cfg.tta_pipeline[1].transforms[1]
    assert [step.scale[1] / side for step in cfg.tta_pipeline[1].transforms[0]] == [0.5, 0.75, 1, 1.25, 1.5, 1.75]
    assert sorted(flip.prob for flip in flips) == [0.0, 1.0]
    assert cfg.tta_model.type == 'SegTTAModel'


@pytest.mark.parametrize(
    ('name', 'start', 'peak', 'end', 'warmup', 'epochs'),
    [
        ('tokenizer/vqkd_vit-b_3x768x12-clip_100e.py', 1e-6, 2e-4, 1e-5, 5, 100),
        ('tokenizer/vqkd_vit-b_3x768x12-clip_100e_release.py', 1e-6, 2e-4, 1e-5, 10, 100),
        ('beitv2_vit-b_1600e.py', 1.5e-6, 1.5e-3, 1e-5, 10, 1600),
        ('beitv2_vit-l_300e.py', 1.5e-6, 1.5e-3, 1e-5, 10, 300),
        ('beit_vit-b_800e.py', 1.5e-6, 1.5e-3, 1e-5, 10, 800),
    ],
)
def test_learning_rate_at_the_first_the_warmest_the_middle_and_the_last_step(
    name: str, start: float, peak: float, end: float, warmup: int, epochs: int
) -> None:
    cfg, steps = load(name), 3  # steps an epoch
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [
        PARAM_SCHEDULERS.build(
            dict(scheduler, optimizer=optimizer, epoch_length=steps), default_args=dict(optimizer=optimizer)
        )
        for scheduler in cfg.param_scheduler
    ]
    rates = []
    for _ in range(steps * epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    first, middle = steps * warmup, steps * (warmup + epochs) // 2
    assert rates[0] == pytest.approx(start, rel=1e-3)
    assert rates[first] == pytest.approx(peak, rel=1e-6)
    assert max(rates) == rates[first]
    half = end + (peak - end) * 0.5 * (1 + math.cos(math.pi * (middle - first) / (steps * (epochs - warmup))))
    assert rates[middle] == pytest.approx(half, rel=1e-3)
    assert rates[-1] == pytest.approx(end, rel=0.05)


def test_beit_v1_has_the_numbers_of_its_paper() -> None:
    for epochs in (300, 800):
        cfg = load(f'beit_vit-b_{epochs}e.py')
        assert cfg.model.neck is None
        assert cfg.model.tokenizer.type == 'mmbeitv2.DALLETokenizer'
        assert cfg.model.data_preprocessor.view_size == 112
        pipeline = cfg.train_dataloader.dataset.pipeline
        assert next(step for step in pipeline if step.type == 'mmbeitv2.RandomResizedCrop').crop_ratio_range == (
            0.08,
            1.0,
        )
        assert peak_and_end(cfg) == (10, epochs)


@pytest.mark.parametrize(
    ('name', 'key', 'value'),
    [
        ('layer6', 'backbone.out_indices', (5, 11)),
        ('layer11', 'backbone.out_indices', (10, 11)),
        ('head-depth1', 'neck.depth', 1),
        ('head-depth3', 'neck.depth', 3),
        ('unshared', 'head.shared_head', False),
        ('no-aggregation', 'neck', None),
        ('vqkd-1x768x12', 'tokenizer.decoder.arch.depth', 1),
        ('vqkd-6x768x12', 'tokenizer.decoder.arch.depth', 6),
        ('vqkd-s-1x384x6', 'tokenizer.encoder.arch', 'small'),
        ('vqkd-dim16', 'tokenizer.quantizer.code_dim', 16),
        ('vqkd-dim64', 'tokenizer.quantizer.code_dim', 64),
        ('vqkd-dino', 'tokenizer.target_dims', 768),
        ('kmeans-clip', 'tokenizer.type', 'mmbeitv2.KMeansTokenizer'),
    ],
)
def test_an_ablation_changes_what_it_is_named_for_and_nothing_of_the_recipe(name: str, key: str, value: object) -> None:
    cfg, base = load(f'ablation/beitv2_vit-b_{name}_300e.py'), load('beitv2_vit-b_300e.py')
    node: object = cfg.model
    for part in key.split('.'):
        node = node[part]  # type: ignore[index]
    assert node == value
    for part in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader'):
        assert cfg[part] == base[part]


def test_pretraining_fits_the_tokenizers_that_its_ablations_name() -> None:
    """A checkpoint of the tokenizer's config has the shapes of the tokenizer in the pretraining's config."""
    pairs = {
        'vqkd-6x768x12': 'vqkd_vit-b_6x768x12-clip_100e',
        'vqkd-s-1x384x6': 'vqkd_vit-s_1x384x6-clip_100e',
        'vqkd-dim16': 'vqkd_vit-b_1x768x12-dim16-clip_100e',
        'vqkd-dim64': 'vqkd_vit-b_1x768x12-dim64-clip_100e',
        'kmeans-clip': 'kmeans_vit-b-clip_1e',
    }
    for name, tokenizer in pairs.items():
        cfg = load(f'ablation/beitv2_vit-b_{name}_300e.py').model.tokenizer
        recipe = load(f'tokenizer/{tokenizer}.py')
        assert cfg.init_cfg.checkpoint == f'work_dirs/{tokenizer}/epoch_{recipe.train_cfg.max_epochs}.pth'
        trained = recipe.model
        assert cfg.get('teacher', trained.teacher) == trained.teacher
        for model in (cfg, trained):
            model.update(teacher=None, target_dims=512, init_cfg=None)
        with torch.device('meta'):
            shapes = [
                {key: value.shape for key, value in MODELS.build(model).state_dict().items()
                 if not key.startswith('data_preprocessor')}
                for model in (cfg, trained)
            ]  # fmt: skip
        assert shapes[0] == shapes[1]


@pytest.mark.parametrize('path', CONFIGS, ids=name_of)
def test_learning_rates_are_scaled_from_the_batch_that_the_config_is_meant_for(path: Path) -> None:
    cfg = load(path)
    stated = re.search(r'batch (\d+) on (\d+) GPU', path.read_text().replace('\n# ', ' '))
    is_small = path.parent.name in ('quickstart', 'camvid', 'cifar10', 'multispectral')
    gpus = 1 if is_small else int(stated[2]) if stated else 8
    assert cfg.auto_scale_lr.base_batch_size == gpus * cfg.train_dataloader.batch_size
    assert stated is None or cfg.auto_scale_lr.base_batch_size == int(stated[1])


@pytest.mark.parametrize('arch', ['b', 'l'])
def test_the_linear_reading_trains_nothing_of_the_backbone(arch: str) -> None:
    cfg = load(f'segmentation/beitv2-1600e_vit-{arch}_linear_40k_ade20k-512x512.py')
    assert peak_and_end(cfg) == (1500, 40000) == (1500, cfg.train_cfg.max_iters)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).train()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    linear = {f'decode_head.conv_seg.{part}' for part in ('weight', 'bias')}
    assert trained == linear | {f'neck.norms.0.{part}' for part in ('weight', 'bias')}
    assert model.decode_head.conv_seg.kernel_size == (1, 1)
    # No drop path, and no dropout in front of the linear layer.
    parts = [*model.backbone.blocks, model.backbone.norm, model.backbone.patch_embed]
    assert not any(module.training for part in parts for module in part.modules())
    assert model.decode_head.dropout is None


def test_options_for_own_data_reach_every_place_that_needs_them() -> None:
    """A folder may have any name: a setting is data."""
    options = ["data_root=Bob's data", 'num_classes=37']
    cfg = read_config(str(ROOT / 'configs/segmentation/own_dataset.py'), options)
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 37
    assert peak_and_end(cfg) == (500, 20000) == (500, cfg.train_cfg.max_iters)
    assert {cfg[f'{split}_dataloader'].dataset.data_root for split in ('train', 'val', 'test')} == {"Bob's data"}
    cfg = read_config(str(ROOT / 'configs/classification/own_folders.py'), options)
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 37
    for split, folder in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert (dataset.data_root, dataset.data_prefix) == ("Bob's data", folder)
        assert 'split' not in dataset  # of ImageNet, which ImageFolder does not know
    assert peak_and_end(cfg) == (5, 30) == (5, cfg.train_cfg.max_epochs)
    paper = load('classification/beitv2-1600e_vit-b_ft-100e_in1k.py').optim_wrapper.optimizer
    assert cfg.optim_wrapper.optimizer.lr == paper.lr * cfg.train_dataloader.batch_size / 1024
    for name in ('knn', 'patches'):
        cfg = read_config(str(ROOT / f'configs/adapt/beitv2_vit-b_adapt-{name}.py'), options[:1])
        hook = cfg.custom_hooks[-1]
        loaders = (cfg.train_dataloader, hook.bank_dataloader, hook.query_dataloader)
        assert {loader.dataset.data_root for loader in loaders} == {"Bob's data"}
        assert (hook.score_start, hook.keep_best, hook.patience) == (True, True, 3)
        assert cfg.custom_hooks[:-1] == load('adapt/beitv2_vit-b_adapt.py').custom_hooks


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'configs').glob('*/*own*.py')) + sorted((ROOT / 'configs/adapt').iterdir())
)
def test_own_data_starts_from_weights_that_there_are(path: Path) -> None:
    model = load(path).model
    checkpoint = (model.get('init_cfg') or model.backbone.init_cfg).checkpoint
    assert is_published(checkpoint) or 'vit-s' in path.stem


@pytest.mark.parametrize(('arch', 'recipe', 'decay'), [('s', '1600e', 0.8), ('b', '1600e', 0.8), ('l', '1600e', 0.9)])
def test_adapting_keeps_the_network_and_the_tokenizer_of_the_pretraining(arch: str, recipe: str, decay: float) -> None:
    cfg, base = load(f'adapt/beitv2_vit-{arch}_adapt.py'), load(f'beitv2_vit-{arch}_{recipe}.py')
    for part in ('backbone', 'neck', 'head', 'tokenizer'):
        assert cfg.model[part] == base.model[part]
    assert peak_and_end(cfg) == (500, 10000) == (500, cfg.train_cfg.max_iters)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == decay
    assert cfg.optim_wrapper.optimizer.lr < base.optim_wrapper.optimizer.lr * cfg.auto_scale_lr.base_batch_size / 2048
    assert cfg.train_dataloader.dataset.pipeline == base.train_dataloader.dataset.pipeline
    assert dict(s='vit-s', b='base', l='large')[arch] in cfg.model.init_cfg.checkpoint


# As docs/guides/openmmlab.md has it.
OF_MMSEG = """
_base_ = '{configs}/beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py'
custom_imports = dict(imports=['mmbeitv2'], allow_failed_imports=False)
model = dict(
    pretrained=None,
    backbone=dict(
        _delete_=True, type='mmbeitv2.BEiTv2ViT', arch='base', img_size=640, out_indices=(3, 5, 7, 11),
        out_type='featmap', final_norm='none', rel_pos_bias='per_layer', layer_scale_init_value=0.1,
        drop_path_rate=0.1,
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='beitv2-base_in1k-1600e_ft-in21k_release'),
    ),
)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-5, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.85),
)
"""


def test_a_config_of_mmseg_takes_our_backbone_with_a_learning_rate_for_each_block(tmp_path: Path) -> None:
    """Ours as mmseg's BEiT would have it: mmseg's own constructor puts all blocks of a foreign backbone together."""
    configs = str(Path(mmseg.__file__).parent / '.mim' / 'configs')
    (tmp_path / 'own.py').write_text(OF_MMSEG.replace('{configs}', configs))
    cfg = read_config(str(tmp_path / 'own.py'))
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    rates = {id(weight): group['lr'] for group in optimizer.param_groups for weight in group['params']}
    blocks = model.backbone.blocks
    expected = [5e-5 * 0.85 ** (12 - number) for number in range(12)]
    assert [rates[id(block.attn.qkv.weight)] for block in blocks] == pytest.approx(expected)
    assert rates[id(model.decode_head.conv_seg.weight)] == 5e-5
