"""What the setting ``tiny`` does: shrinks any config while it is read, and gives it weights that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import mmengine.config
import timm
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope

import mmbeitv2.checkpoints.locating as locating
import mmbeitv2.inference.config as apis_config
from mmbeitv2.checkpoints.zoo import describe_model, list_models
from tests.conftest import NUM_CODES, ROOT, tiny_tokenizer

SIDE, PATCH, GRID = 32, 8, 4
WIDTH, DEPTH, HEADS = 32, 4, 2
CODE_DIM = 8
TEACHER, TEACHER_WIDTH = 'vit_tiny_patch16_224', 192
# Options of tools/train.py and tools/test.py that a CPU has no use for, with the values that they may have.
DROPPED = {'--amp': ('auto', 'bfloat16', 'float16'), '--compile': ()}

_real_fromfile = Config.fromfile
_real_merge = apis_config.merge_options


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
            cfg = _shrink(_real_fromfile(str(path)), self)
            with (
                DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')),
                torch.random.fork_rng(),
                mock.patch.object(MMLogger, 'isEnabledFor', return_value=False),  # it would log every weight
            ):
                torch.manual_seed(0)
                cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
                model = MODELS.build(without_weights(cfg.model))
                model.init_weights()
            temporary = file.with_suffix('.tmp')
            torch.save(dict(state_dict=model.state_dict(), meta={}), temporary)
            temporary.rename(file)
        return file

    def of_run(self, path: str) -> Path:
        """Of the run that would write the file ``work_dirs/NAME/*.pth``, or ``work_dirs/FOLDER/NAME/*.pth``."""
        *_, folder, name = Path(path).parent.parts
        stages = [ROOT / top / folder / f'{name}.py' for top in ('configs', 'demo/configs')]
        found = [path for path in stages if path.exists()] or sorted((ROOT / 'configs').rglob(f'{name}.py'))
        if len(found) != 1:
            raise ValueError(f'{path!r} names {len(found)} configs: {", ".join(map(str, found))}')
        return self.of_config(found[0])

    def of_address(self, url: str, sha256: str | None = None) -> Path:
        """In place of a download."""
        if url not in self._by_address:
            raise ValueError(f'{url!r} is no model of the zoo, so there is no tiny one in its place')
        return self.of_config(Path(describe_model(self._by_address[url]).config))

    def teacher(self) -> Path:
        """Of :data:`TEACHER`: always the same ones, as a tokenizer knows its teacher by them."""
        file = self.folder / 'teacher.pth'
        if not file.exists():
            with torch.random.fork_rng():
                torch.manual_seed(0)
                torch.save(timm.create_model(TEACHER, num_classes=0, img_size=SIDE).state_dict(), file)
        return file


@contextmanager
def everything_tiny(weights: Weights) -> Iterator[None]:
    """Inside, every config that is read is small, and published weights are those of small models."""

    def fromfile(*args: Any, **kwargs: Any) -> Config:
        return _shrink(_real_fromfile(*args, **kwargs), weights)

    def merge_options(cfg: Config, cfg_options: Any) -> Config:
        return _shrink(_real_merge(cfg, cfg_options), weights)

    with (
        mock.patch.object(mmengine.config.Config, 'fromfile', staticmethod(fromfile)),
        mock.patch.object(apis_config, 'merge_options', merge_options),
        mock.patch.object(locating, 'download', weights.of_address),
        # Four fifths of the time of a tiny training would go into the layout of its dumped config.
        mock.patch('yapf.yapflib.yapf_api.FormatCode', lambda code, **_: (code, True)),
        mock.patch.object(torch.cuda, 'is_available', return_value=False),
    ):
        yield


def command_line(argv: list[str]) -> list[str]:
    """The arguments of Python, with one process in place of several and without options that need a GPU."""
    if argv[:2] == ['-m', 'torch.distributed.run']:
        script = next(number for number, word in enumerate(argv) if word.endswith('.py'))
        argv = argv[script:-2]  # without --launcher pytorch
    kept: list[str] = []
    dropped: str | None = None
    for word in argv:
        if word in DROPPED:
            dropped = word
        elif dropped is not None and word in DROPPED[dropped]:
            dropped = None
        else:
            kept.append(word)
            dropped = None
    return kept


def _shrink(cfg: Config, weights: Weights) -> Config:
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
    if node.get('type') == 'mmbeitv2.DALLETokenizer':
        node.clear()
        node.update(mmengine.config.ConfigDict(tiny_tokenizer()))
    kind = str(node.get('type'))
    for key, value in list(dict.items(node)):
        if key in _NUMBERS:
            node[key] = _NUMBERS[key](value)
    for types, change in _CHANGES:
        if kind.rpartition('.')[2] in types:
            change(node)
    if name == 'teacher':
        node.clear()
        node.update(type='mmbeitv2.TimmTeacher', model=TEACHER, pretrained=str(weights.teacher()), img_size=SIDE)
        return
    if 'dataset' in node and 'batch_size' in node:
        node.update(batch_size=min(node['batch_size'], 4), num_workers=0, persistent_workers=False)
        node.pop('prefetch_factor', None)
    if name == 'init_cfg' and 'checkpoint' in node:
        checkpoint = str(node['checkpoint'])
        if checkpoint.startswith('work_dirs/') and not Path(checkpoint).exists():
            node['checkpoint'] = str(weights.of_run(checkpoint))
    for key, child in list(dict.items(node)):
        _walk(child, weights, str(key))


def _side(value: object) -> object:
    """A size in pixels; of two numbers, the first may be the longest side that an image may have."""
    if isinstance(value, list | tuple) and len(value) == 2:
        if value[0] == value[1]:
            return (_side(value[0]), _side(value[1]))
        return (2048, SIDE)
    if isinstance(value, int) and value > SIDE:
        return SIDE + PATCH if value in (56, 256) else SIDE
    return value


def _at_most(limit: int) -> Callable[[Any], Any]:
    return lambda value: min(value, limit) if isinstance(value, int) else value


def _width(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_width(entry) for entry in value]
    return WIDTH if isinstance(value, int) and value > WIDTH else value


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
    num_queries=_at_most(8),
    num_points=_at_most(64),
)


def _shrink_vit(node: dict) -> None:
    is_decoder = node.get('patch_size') == 1
    node['arch'] = mmengine.config.ConfigDict(embed_dims=WIDTH, depth=1 if is_decoder else DEPTH, num_heads=HEADS)
    node['img_size'], node['patch_size'] = (GRID, 1) if is_decoder else (SIDE, PATCH)
    if is_decoder:
        node['in_channels'] = min(node.get('in_channels', CODE_DIM), CODE_DIM)
    _shrink_depth(node)


def _shrink_timm(node: dict) -> None:
    node.update(pretrained=False, img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS)
    _shrink_depth(node)


def _shrink_depth(node: dict) -> None:
    if isinstance(node.get('out_indices'), list | tuple):
        count = len(node['out_indices'])
        node['out_indices'] = tuple(range(DEPTH - count, DEPTH))
    if 'frozen_stages' in node:
        node['frozen_stages'] = min(node['frozen_stages'], DEPTH)


def _shrink_head(node: dict) -> None:
    if 'channels' in node:
        node['channels'] = WIDTH if node.get('num_convs') == 0 else 8


def _shrink_mask(node: dict) -> None:
    node.update(grid_size=GRID, num_masked=6)
    if 'min_block' in node:
        node['min_block'] = 2


def _any_classes(node: dict) -> None:
    """mmpretrain's ImageNet insists on all of its classes."""
    node['type'], node['data_prefix'] = 'mmpretrain.CustomDataset', node.pop('split', '')
    node['metainfo'] = dict(class_indices=None)  # as of a variant, whose classes are not all of the head's


_CHANGES: tuple[tuple[tuple[str, ...], Callable[[dict], None]], ...] = (
    (('BEiTv2ViT', 'EoMTViT'), _shrink_vit),
    (('TimmViT', 'EoMTTimmViT'), _shrink_timm),
    (('EfficientUPerHead', 'UPerHead', 'FCNHead'), _shrink_head),
    (('BlockMaskGenerator', 'RandomMaskGenerator'), _shrink_mask),
    (('VectorQuantizePytorch',), lambda node: node.update(levels=[4, 4])),
    (('KMeansTokenizer',), lambda node: node.update(img_size=SIDE, patch_size=PATCH)),
    (('ImageNet', 'ImageNet21k'), _any_classes),
)


def _shrink_schedule(cfg: Config) -> None:
    train = cfg.get('train_cfg')
    if not isinstance(train, dict):
        return
    unit = 'max_iters' if 'max_iters' in train else 'max_epochs'
    length = 2 if unit == 'max_iters' else 1
    if unit in train:
        train[unit] = min(train[unit], length)
    if 'val_interval' in train:
        train['val_interval'] = min(train['val_interval'], length)
    hooks = cfg.get('default_hooks') or {}
    for name, interval in (('checkpoint', length), ('logger', 1)):
        if isinstance(hooks.get(name), dict):
            hooks[name]['interval'] = interval
    for hook in cfg.get('custom_hooks') or ():
        if 'interval' in hook:
            hook['interval'] = min(hook['interval'], length)


def without_weights(node: Any) -> Any:
    """A model whose weights start at random, except for the teacher's."""
    if isinstance(node, list | tuple):
        return type(node)(without_weights(child) for child in node)
    if isinstance(node, dict):
        return {
            key: without_weights(value)
            for key, value in dict.items(node)
            if not (key == 'init_cfg' and isinstance(value, dict) and 'checkpoint' in value)
        }
    return node
