"""What the setting ``tiny`` does: shrinks any config while it is read, and gives it weights that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import timm
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope

import mmbeitv2.checkpoints.locating as locating
import mmbeitv2.inference.config as inference_config
from mmbeitv2.checkpoints.zoo import describe_model, list_models
from tests.conftest import NUM_CODES, ROOT, tiny_tokenizer

SIDE, PATCH, GRID = 32, 8, 4
WIDTH, DEPTH, HEADS = 32, 4, 2
CODE_DIM = 8
TEACHER, TEACHER_WIDTH = 'vit_tiny_patch16_224', 192
_VITS = ('BEiTv2ViT', 'EoMTViT', 'TimmViT', 'EoMTTimmViT')

_real_fromfile = Config.fromfile
_real_merge = inference_config.merge_options


class Weights:
    """Checkpoints with random weights, made when they are first asked for.

    Args:
        folder: for the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_address = {describe_model(name).weights: name for name in list_models()}

    def of_config(self, path: Path) -> Path:
        """Of the model of a config of the repository."""
        path = path.resolve()
        file = self.folder / f'{"-".join(path.relative_to(ROOT).with_suffix("").parts)}.pth'
        if not file.exists():
            cfg = shrink(_real_fromfile(str(path)), self)
            cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
            with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
                model = MODELS.build(without_weights(cfg.model))
                model.init_weights()
            torch.save(dict(state_dict=model.state_dict(), meta={}), file)
        return file

    def of_run(self, path: str) -> Path:
        """Of the run that would write the file ``work_dirs/NAME/*.pth``, ``work_dirs/FOLDER/NAME/*.pth``, or, in the
        study, ``work_dirs/evidence/cpu/NAME/RUN/*.pth``."""
        *_, folder, name = parts = Path(path).parent.parts
        if parts[1:3] == ('evidence', 'cpu'):
            folder, name = 'evidence', {'tokenizers': 'tokenizer'}.get(parts[3], parts[3])
        files = [file for top in ('configs', 'demo/configs') for file in (ROOT / top).rglob(f'{name}.py')]
        found = [file for file in files if '_base_' not in file.parts]
        (config,) = [file for file in found if file.parent.name == folder] or found
        return self.of_config(config)

    def of_address(self, url: str, sha256: str | None = None) -> Path:
        """In place of a download."""
        return self.of_config(Path(describe_model(self._by_address[url]).config))

    def teacher(self) -> Path:
        """Of :data:`TEACHER`: always the same ones, as a tokenizer knows its teacher by them."""
        file = self.folder / 'teacher.pth'
        if not file.exists():
            torch.save(timm.create_model(TEACHER, num_classes=0, img_size=SIDE).state_dict(), file)
        return file


@contextmanager
def everything_tiny(weights: Weights) -> Iterator[None]:
    """Inside, every config that is read is small, and published weights are those of small models."""

    def fromfile(*args: Any, **kwargs: Any) -> Config:
        return shrink(_real_fromfile(*args, **kwargs), weights)

    def merge_options(cfg: Config, cfg_options: Any) -> Config:
        return shrink(_real_merge(cfg, cfg_options), weights)

    with (
        mock.patch.object(Config, 'fromfile', staticmethod(fromfile)),
        mock.patch.object(inference_config, 'merge_options', merge_options),
        mock.patch.object(locating, 'download', weights.of_address),
        mock.patch.object(torch.cuda, 'is_available', return_value=False),
    ):
        yield


def command_line(argv: list[str]) -> list[str]:
    """The arguments of Python, with one process in place of several and without options that need a GPU."""
    if argv[:2] == ['-m', 'torch.distributed.run']:
        script = next(number for number, word in enumerate(argv) if word.endswith('.py'))
        argv = argv[script:-2]  # without --launcher pytorch
    return [word for word in argv if word not in ('--amp', '--compile')]


def without_weights(node: Any) -> Any:
    """A model whose weights start at random, except for the teacher's."""
    if isinstance(node, list | tuple):
        return type(node)(map(without_weights, node))
    if isinstance(node, dict):
        return {key: without_weights(value) for key, value in dict.items(node) if key != 'init_cfg'}
    return node


def shrink(cfg: Config, weights: Weights) -> Config:
    """In place; a config that is small already stays as it is."""
    for key in list(cfg._cfg_dict):
        _walk(cfg._cfg_dict[key], weights, str(key))
    _shrink_schedule(cfg)
    return cfg


def _walk(node: object, weights: Weights, name: str) -> None:
    if isinstance(node, list | tuple):
        for child in node:
            _walk(child, weights, name)
    if not isinstance(node, dict):
        return
    if name == 'teacher':
        node.clear()
        node.update(type='mmbeitv2.TimmTeacher', model=TEACHER, pretrained=str(weights.teacher()), img_size=SIDE)
        return
    for key in node.keys() & _NUMBERS.keys():
        node[key] = _NUMBERS[key](node[key])
    _shrink_part(node)
    if 'dataset' in node and 'batch_size' in node:
        node.update(batch_size=min(node['batch_size'], 4), num_workers=0, persistent_workers=False)
        node.pop('prefetch_factor', None)
    checkpoint = str(node.get('checkpoint'))
    if name == 'init_cfg' and checkpoint.startswith('work_dirs/') and not Path(checkpoint).exists():
        node['checkpoint'] = str(weights.of_run(checkpoint))
    for key, child in list(dict.items(node)):
        _walk(child, weights, str(key))


def _side(value: Any) -> Any:
    """A size in pixels; of two numbers, the first may be the longest side that an image may have."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return (_side(value[0]), _side(value[1])) if value[0] == value[1] else (2048, SIDE)
    if isinstance(value, int) and value > SIDE:
        return SIDE + PATCH if value in (56, 256) else SIDE
    return value


def _at_most(limit: int) -> Callable[[Any], Any]:
    return lambda value: min(value, limit) if isinstance(value, int) else value


def _width(value: Any) -> Any:
    return list(map(_width, value)) if isinstance(value, list | tuple) else _at_most(WIDTH)(value)


# Settings that mean the same wherever they stand.
_NUMBERS: dict[str, Callable[[Any], Any]] = dict(
    num_codes=_at_most(NUM_CODES),
    code_dim=_at_most(CODE_DIM),
    target_dims=lambda value: value and TEACHER_WIDTH,
    in_channels=_width,
    embed_dim=_width,
    size=_side,
    scale=_side,
    crop_size=_side,
    view_size=_side,
    stride=lambda value: (21, 21) if isinstance(value, list | tuple) else value,
    min_side=_at_most(SIDE),
    min_block=_at_most(2),
    num_queries=_at_most(8),
    num_points=_at_most(64),
    frozen_stages=_at_most(DEPTH),
)


def _shrink_part(node: dict) -> None:
    kind = str(node.get('type')).rpartition('.')[2]
    match kind:
        case 'BEiTv2ViT' | 'EoMTViT' if node.get('patch_size') == 1:  # a decoder
            node.update(arch=_arch(1), img_size=GRID, in_channels=min(node.get('in_channels', CODE_DIM), CODE_DIM))
        case 'BEiTv2ViT' | 'EoMTViT':
            node.update(arch=_arch(DEPTH), img_size=SIDE, patch_size=PATCH)
        case 'TimmViT' | 'EoMTTimmViT':
            node.update(pretrained=False, img_size=SIDE, patch_size=PATCH)
            node.update(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS)
        case 'EfficientUPerHead' | 'UPerHead' | 'FCNHead':
            node.update(channels=WIDTH if node.get('num_convs') == 0 else 8)
        case 'BlockMaskGenerator' | 'RandomMaskGenerator':
            node.update(grid_size=GRID, num_masked=6)
        case 'VectorQuantizePytorch':
            node.update(levels=[4, 4])
        case 'KMeansTokenizer':
            node.update(img_size=SIDE, patch_size=PATCH)
        case 'DALLETokenizer':
            node.clear()
            node.update(ConfigDict(tiny_tokenizer()))
        case 'ImageNet' | 'ImageNet21k':  # which insists on all classes; a variant's are not all of the head's
            node.update(type='mmpretrain.CustomDataset', data_prefix=node.pop('split', ''))
            node.update(metainfo=dict(class_indices=None))
    if kind in _VITS and isinstance(node.get('out_indices'), list | tuple):
        node['out_indices'] = tuple(range(DEPTH - len(node['out_indices']), DEPTH))


def _arch(depth: int) -> ConfigDict:
    return ConfigDict(embed_dims=WIDTH, depth=depth, num_heads=HEADS)


def _shrink_schedule(cfg: Config) -> None:
    train = cfg.get('train_cfg')
    if not isinstance(train, dict):
        return
    length = 2 if 'max_iters' in train else 1
    for key in train.keys() & {'max_iters', 'max_epochs', 'val_interval'}:
        train[key] = min(train[key], length)
    hooks = cfg.get('default_hooks') or {}
    for name, interval in (('checkpoint', length), ('logger', 1)):
        if isinstance(hooks.get(name), dict):
            hooks[name]['interval'] = interval
    for hook in cfg.get('custom_hooks') or ():
        if 'interval' in hook:
            hook['interval'] = min(hook['interval'], length)
