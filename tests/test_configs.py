"""A config is a promise: every one is plain data and builds at full size, and its numbers are the paper's."""

from __future__ import annotations

import ast
import copy
import functools
import math
import re
from pathlib import Path

import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import MODELS, PARAM_SCHEDULERS, TRANSFORMS, init_default_scope

from mmbeitv2.checkpoints.zoo import is_published
from tests.conftest import ROOT

FILES = sorted([*(ROOT / 'configs').rglob('*.py'), *(ROOT / 'demo' / 'configs').rglob('*.py')])
# The configs of the study are built with the options of their jobs, in tests/test_tools/test_evidence.py.
CONFIGS = [path for path in FILES if not {'_base_', 'evidence'} & {*path.parts} and path.stem != 'bands']


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


read = functools.cache(Config.fromfile)


def load(name: str | Path) -> Config:
    cfg = copy.deepcopy(read(str(ROOT / 'configs' / name)))
    init_default_scope(cfg.default_scope)
    return cfg


def bases(path: Path) -> list[Path]:
    """The files that a config inherits from."""
    nodes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    values = [ast.literal_eval(node.value) for node in nodes if ast.unparse(node.targets[0]) == '_base_']
    names = [name for value in values for name in ([value] if isinstance(value, str) else value)]
    return [(path.parent / name).resolve() for name in names]


def depth(path: Path) -> int:
    """Levels of files that a config inherits from."""
    return max((1 + depth(base) for base in bases(path)), default=0)


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_a_config_is_data_names_its_source_and_stands_on_two_levels_of_base_files(path: Path) -> None:
    text = path.read_text()
    assert text.startswith('# ')
    assert '{{$' not in text
    assert '_pipeline[' not in text  # no edit by number
    # What wraps a part of its base replaces it; in the study, settings that are merged onto its other configs.
    assert '_delete_' not in text or 'LoRA' in text or name_of(path) == 'configs/evidence/cpu.py'
    kinds = (ast.Assign, ast.AugAssign, ast.Expr)
    assert not [ast.unparse(node) for node in ast.parse(text).body if not isinstance(node, kinds)]
    assert 'lambda' not in text
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)}
    assert called <= {'dict', 'len', 'list', 'range', 'round', 'zip'}
    assert depth(path) <= 2
    assert all('_base_' in base.parts for base in bases(path))  # no experiment is another's base


@pytest.mark.parametrize('path', CONFIGS, ids=name_of)
def test_every_config_builds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # from where demo.clip is found
    cfg = load(path)
    # Only what must be fetched is left out: weights, and the teacher that consists of them.
    for part in (cfg.model, cfg.model.get('tokenizer') or {}):
        if part.get('type') in ('mmbeitv2.VQKD', 'mmbeitv2.KMeansTokenizer'):
            part.teacher, part.target_dims = None, 512
    for part in ('backbone', 'tokenizer'):
        if cfg.model.get(part):
            settings = cfg.model[part].get('module', cfg.model[part])  # in a LoRAModel
            settings.init_cfg = None
            if 'pretrained' in settings:
                settings.pretrained = False
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


# One row a config: DESIGN's tables of recipes, and the scripts of the reference where a file was released.
# Length, batch, lr, min. lr, warm-up, two betas, weight decay, clipping, drop path, layer scale, layer-wise lr decay.
RECIPES = {
    'tokenizer/vqkd_vit-b_3x768x12-clip_100e': '100 512 2e-4 1e-5 5 .9 .99 1e-4 - - - -',
    'tokenizer/vqkd_vit-b_3x768x12-clip_100e_release': '100 512 2e-4 1e-5 10 .9 .99 1e-4 - - - -',
    'beitv2_vit-b_300e': '300 2048 1.5e-3 1e-5 10 .9 .98 .05 3 0 .1 -',
    'beitv2_vit-b_1600e': '1600 2048 1.5e-3 1e-5 10 .9 .999 .05 3 .1 .1 -',
    'beitv2_vit-l_300e': '300 2048 1.5e-3 1e-5 10 .9 .98 .05 3 0 1e-5 -',
    'beitv2_vit-l_1600e': '1600 2048 1.5e-3 1e-5 10 .9 .999 .05 3 .1 1e-5 -',
    'beit_vit-b_800e': '800 2048 1.5e-3 1e-5 10 .9 .999 .05 3 .1 .1 -',
    'classification/beitv2-1600e_vit-b_ft-100e_in1k': '100 1024 5e-4 1e-6 20 .9 .999 .05 - .1 .1 .65',
    'classification/beitv2-1600e_vit-l_ft-50e_in1k': '50 1024 5e-4 1e-6 5 .9 .999 .05 - .2 1e-5 .8',
    'classification/beitv2-1600e_vit-b_ft-100e_in1k_release': '100 1024 5e-4 1e-6 20 .9 .999 .05 - .2 .1 .6',
    'classification/beitv2-1600e_vit-l_ft-50e_in1k_release': '50 1024 2e-4 1e-6 5 .9 .999 .05 - .2 1e-5 .8',
    'classification/beitv2-1600e_vit-b_ft-90e_in21k': '90 4096 6e-4 1e-6 20 .9 .999 .05 - .1 .1 .75',
    'classification/beitv2-1600e_vit-l_ft-90e_in21k': '90 4096 6e-4 1e-6 20 .9 .999 .05 - .2 1e-5 .75',
    'classification/beitv2-1600e-in21k_vit-b_ft-30e_in1k': '30 1024 5e-5 1e-6 20 .9 .999 .05 - .1 .1 .75',
    'classification/beitv2-1600e-in21k_vit-l_ft-20e_in1k': '20 1024 7e-5 1e-6 5 .9 .999 .05 - .25 1e-5 .8',
    'segmentation/beitv2-1600e_vit-b_{512}': '160000 16 8e-5 0 1500 .9 .999 .05 - .1 .1 .8',
    'segmentation/beitv2-1600e_vit-l_{512}': '160000 16 8e-5 0 1500 .9 .999 .05 - .2 1e-5 .8',
    'segmentation/beitv2-1600e-in21k_vit-b_{640}': '160000 16 8e-5 0 1500 .9 .999 .05 - .1 .1 .8',
    'segmentation/beitv2-1600e-in21k_vit-l_{640}': '160000 16 8e-5 0 1500 .9 .999 .05 - .2 1e-5 .8',
    'segmentation/beitv2-1600e_vit-b_{512}_release': '160000 16 5e-5 0 1500 .9 .999 .05 - .15 .1 .75',
    'segmentation/beitv2-1600e_vit-l_{512}_release': '160000 16 4e-5 0 1500 .9 .999 .05 - .2 1e-6 .9',
    'segmentation/beitv2-1600e-in21k_vit-b_{512}_release': '160000 16 5e-5 0 1500 .9 .999 .05 - .15 .1 .85',
    'segmentation/beitv2-1600e-in21k_vit-l_{512}_release': '160000 16 3e-5 0 1500 .9 .999 .05 - .2 1e-6 .9',
    'segmentation/beit-150e_vit-b_{512}': '160000 16 7e-4 0 1500 .9 .999 .05 - .1 .1 .65',
    'segmentation/beit-150e-in21k_vit-b_{640}': '160000 16 3e-5 0 1500 .9 .999 .05 - .1 .1 .9',
    'segmentation/beit-150e-in21k_vit-l_{640}': '160000 16 2e-5 0 1500 .9 .999 .05 - .2 1e-6 .95',
    'segmentation/beitv2-1600e_vit-b_eomt_40k_ade20k-512x512': '40000 16 1e-4 0 1500 .9 .999 .05 .01 0 .1 .8',
}
SEGMENTATION = {side: f'upernet_160k_ade20k-{side}x{side}' for side in (512, 640)}


def file_of(name: str) -> str:
    for side, recipe in SEGMENTATION.items():
        name = name.replace(f'{{{side}}}', recipe)
    return f'{name}.py'


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_has_the_numbers_of_its_table(name: str) -> None:
    cfg = load(file_of(name))
    optim, backbone, (warmup, decay) = cfg.optim_wrapper, cfg.model.get('backbone', {}), cfg.param_scheduler
    lr = optim.optimizer.lr
    assert decay.begin == warmup.end
    assert decay.get('T_max', decay.end - decay.begin) == decay.end - decay.begin
    assert decay.type == ('PolyLR' if 'ade20k' in cfg.filename else 'CosineAnnealingLR')
    assert decay.get('power', 1) == (0.9 if 'eomt' in name else 1)
    assert decay.end == cfg.train_cfg.get('max_epochs', cfg.train_cfg.get('max_iters'))
    found = dict(
        length=decay.end,
        batch=cfg.auto_scale_lr.base_batch_size,
        lr=lr,
        min_lr=decay.get('eta_min', decay.get('eta_min_ratio', 0) * lr),
        warmup=warmup.end,
        beta1=optim.optimizer.betas[0],
        beta2=optim.optimizer.betas[1],
        weight_decay=optim.optimizer.weight_decay,
        clip=optim.get('clip_grad', {}).get('max_norm'),
        drop_path=backbone.get('drop_path_rate'),
        layer_scale=backbone.get('layer_scale_init_value'),
        layer_decay=optim.get('paramwise_cfg', {}).get('layer_decay_rate'),
    )
    wanted = {key: float(value) for key, value in zip(found, RECIPES[name].split(), strict=True) if value != '-'}
    assert {key: value for key, value in found.items() if value is not None} == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(
    'name',
    ['tokenizer/vqkd_vit-b_3x768x12-clip_100e', 'beitv2_vit-b_1600e', 'beitv2_vit-l_300e', 'beit_vit-b_800e'],
)
def test_learning_rate_at_the_first_the_warmest_the_middle_and_the_last_step(name: str) -> None:
    epochs, _, peak, end, warmup = map(float, RECIPES[name].split()[:5])
    cfg, steps = load(f'{name}.py'), 3  # steps an epoch
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [
        PARAM_SCHEDULERS.build(
            dict(scheduler, optimizer=optimizer, epoch_length=steps), default_args=dict(optimizer=optimizer)
        )
        for scheduler in cfg.param_scheduler
    ]
    rates = []
    for _ in range(int(steps * epochs)):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    first, middle = int(steps * warmup), int(steps * (warmup + epochs) // 2)
    assert rates[0] == pytest.approx(1e-6 if 'vqkd' in name else 1.5e-6, rel=1e-3)
    assert rates[first] == pytest.approx(peak, rel=1e-6)
    assert max(rates) == rates[first]
    half = end + (peak - end) * 0.5 * (1 + math.cos(math.pi * (middle - first) / (steps * (epochs - warmup))))
    assert rates[middle] == pytest.approx(half, rel=1e-3)
    assert rates[-1] == pytest.approx(end, rel=0.05)


def test_the_models_of_the_tokenizer_and_of_pretraining_are_the_papers() -> None:
    for depth, name in ((3, '3x768x12'), (1, '1x768x12')):
        model = load(f'tokenizer/vqkd_vit-b_{name}-clip_100e.py').model
        assert model.decoder.arch.depth == depth
        assert (model.quantizer.num_codes, model.quantizer.code_dim) == (8192, 32)
        assert model.teacher.model == 'ViT-B-16-quickgelu'
    for arch, blocks, layer in (('b', 12, 9), ('l', 24, 21)):
        cfg = load(f'beitv2_vit-{arch}_1600e.py')
        assert cfg.model.backbone.out_indices == (layer - 1, blocks - 1)
        assert cfg.model.neck.depth == 2
        mask = next(step for step in cfg.train_dataloader.dataset.pipeline if 'MaskGenerator' in step.type)
        assert (mask.grid_size, mask.num_masked, mask.min_block) == (14, 75, 16)
    first = load('beit_vit-b_800e.py').model
    assert (first.neck, first.tokenizer.type, first.data_preprocessor.view_size) == (
        None,
        'mmbeitv2.DALLETokenizer',
        112,
    )


@pytest.mark.parametrize('name', [name for name in RECIPES if name.startswith('classification')])
def test_finetuning_mixes_images_smooths_labels_and_starts_from_the_pretraining_that_it_names(name: str) -> None:
    cfg = load(f'{name}.py')
    classes = 21841 if name.endswith('in21k') else 1000
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == classes
    augments = cfg.model.train_cfg.augments
    assert augments is None if '-in21k' in name else [augment.alpha for augment in augments] == [0.8, 1.0]
    assert cfg.model.head.loss.label_smooth_val == 0.1
    pretrained, arch = Path(name).name.split('_')[:2]
    assert weights_of(pretrained, arch) in cfg.model.backbone.init_cfg.checkpoint


def weights_of(pretrained: str, arch: str) -> str:
    """Part of the path of the weights that a config named ``PRETRAINED_ARCH_...`` starts from."""
    if 'in21k' in pretrained:
        return f'{pretrained.removesuffix("-in21k")}_{arch}_ft-90e_in21k'
    return pretrained.replace('-', f'_{arch}_', 1)


@pytest.mark.parametrize('path', sorted((ROOT / 'configs/ablation').glob('*.py')), ids=name_of)
def test_an_ablation_changes_one_part_of_the_recipe_and_names_a_tokenizer_that_fits(path: Path) -> None:
    cfg, base = load(path), load('beitv2_vit-b_300e.py')
    parts = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg')
    changed = [part for part in parts if cfg[part] != base[part]]
    assert changed in (['model'], ['train_dataloader'])
    model = cfg.model.tokenizer
    run = re.fullmatch(r'work_dirs/(.*)/epoch_(\d+)\.pth', model.init_cfg.checkpoint)
    if run is None:
        return
    recipe = load(f'tokenizer/{run[1]}.py')
    assert recipe.train_cfg.max_epochs == int(run[2])
    for part in ('type', 'encoder', 'quantizer'):
        assert model.get(part) == recipe.model.get(part), part


@pytest.mark.parametrize('arch', ['b', 'l'])
def test_the_linear_reading_trains_nothing_of_the_backbone(arch: str) -> None:
    cfg = load(f'segmentation/beitv2-1600e_vit-{arch}_linear_40k_ade20k-512x512.py')
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model).train()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    linear = {f'decode_head.conv_seg.{part}' for part in ('weight', 'bias')}
    assert trained == linear | {f'neck.norms.0.{part}' for part in ('weight', 'bias')}
    assert model.decode_head.conv_seg.kernel_size == (1, 1)
    # No drop path, and no dropout in front of the linear layer.
    parts = [*model.backbone.blocks, model.backbone.norm, model.backbone.patch_embed]
    assert not any(module.training for part in parts for module in part.modules())
    assert model.decode_head.dropout is None


def test_configs_for_own_data_name_the_same_folder_everywhere() -> None:
    cfg = load('classification/own_folders.py')
    for split, folder in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert (dataset.data_root, dataset.data_prefix) == ('data/own', folder)
        assert 'split' not in dataset  # of ImageNet, which ImageFolder does not know
    assert is_published(cfg.model.backbone.init_cfg.checkpoint)
    paper = load('classification/beitv2-1600e_vit-b_ft-100e_in1k.py').optim_wrapper.optimizer
    assert cfg.optim_wrapper.optimizer.lr == paper.lr * cfg.train_dataloader.batch_size / 1024
    cfg = load('adapt/beitv2_vit-b_adapt-knn.py')
    hook = cfg.custom_hooks[-1]
    loaders = (cfg.train_dataloader, hook.bank_dataloader, hook.query_dataloader)
    assert {loader.dataset.data_root for loader in loaders} == {'data/own'}
    assert (hook.score_start, hook.keep_best, hook.patience) == (True, True, 3)
    assert cfg.custom_hooks[:-1] == load('adapt/beitv2_vit-b_adapt.py').custom_hooks


@pytest.mark.parametrize('name', ['dinov3_vit-s', 'dinov3_vit-b', 'dinov3_vit-l', 'dinov2_vit-b', 'siglip2_vit-b'])
def test_a_model_of_timm_is_adapted_to_the_clusters_of_its_own_features(name: str) -> None:
    cfg, kmeans = load(f'adapt/{name}_adapt.py'), load(f'adapt/{name}_kmeans.py')
    backbone, tokenizer = cfg.model.backbone, cfg.model.tokenizer
    assert {key: value for key, value in tokenizer.items() if key != 'init_cfg'} == {
        key: value for key, value in kmeans.model.items() if key != 'data_preprocessor'
    }
    assert tokenizer.init_cfg.checkpoint == f'work_dirs/{name}_kmeans/epoch_{kmeans.train_cfg.max_epochs}.pth'
    assert backbone.model == tokenizer.teacher.model
    source = timm.models.get_pretrained_cfg(backbone.model)
    assert source.hf_hub_id == f'timm/{backbone.model}'  # it has weights
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    torch.testing.assert_close(preprocessor.mean.flatten(), torch.tensor(source.mean), atol=1e-3, rtol=0)
    torch.testing.assert_close(preprocessor.std.flatten(), torch.tensor(source.std), atol=1e-3, rtol=0)
    with torch.device('meta'):
        vit = MODELS.build(backbone | dict(pretrained=False))
    assert (vit.patch_size, vit.out_indices[-1]) == (tokenizer.patch_size, vit.depth - 1)
    mask = next(step for step in cfg.train_dataloader.dataset.pipeline if 'MaskGenerator' in step.type)
    assert vit.grid_size == (mask.grid_size, mask.grid_size)
    assert mask.num_masked / mask.grid_size**2 == pytest.approx(75 / 196, abs=0.001)
