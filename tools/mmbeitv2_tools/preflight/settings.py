"""Checks of a config's values: types, signs and ranges, names of settings, and whether the work dir can be written."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, LogProcessor, Runner, TestLoop, ValLoop
from torch.utils.data import DataLoader

import mmbeitv2.registry
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.outputs import require_writable_folder
from mmbeitv2.inference.config import known_keys, nearest, walk_settings
from mmbeitv2_tools.errors.annotations import misfit
from mmbeitv2_tools.preflight.segmentation import check_segmentation

# Top-level keys that hold settings, and those of them for which mmengine takes no None.
_DICTS = (
    'train_dataloader',
    'train_cfg',
    'val_cfg',
    'test_cfg',
    'optim_wrapper',
    'default_hooks',
    'randomness',
    'env_cfg',
    'log_processor',
    'auto_scale_lr',
)
_NEVER_NONE = ('randomness', 'env_cfg')
_LOADER_KEYS = {'dataset', 'num_batch_per_epoch', 'disable_subprocess_warning'}  # mmengine's own, beside torch's


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have.

    Args:
        low: least value.
        high: the value must be below it.
        whole: whether only whole numbers make sense.
        excludes_low: whether the value must be above ``low``.
        also: a value outside the range that has a special meaning.
    """

    low: float
    high: float = math.inf
    whole: bool = True
    excludes_low: bool = False
    also: float | None = None

    def holds(self, value: object) -> bool:
        """Whether a value is a number in the range."""
        if not isinstance(value, Real) or isinstance(value, bool):
            return False
        number = float(value)
        if number == self.also:
            return True
        above = number > self.low if self.excludes_low else number >= self.low
        return math.isfinite(number) and above and number < self.high and (not self.whole or number.is_integer())

    def __str__(self) -> str:
        text = f'{"a whole" if self.whole else "a"} number {"above" if self.excludes_low else "of at least"} {self.low}'
        text += f' and below {self.high:g}' if math.isfinite(self.high) else ''
        return text + (f', or {self.also}' if self.also is not None else '')


_COUNT = Range(1)
_POSITIVE = Range(0, whole=False, excludes_low=True)
_SHARE = Range(0, 1, whole=False)
_INTERVAL = Range(1, also=-1)  # mmengine: -1 for never
_MOST_WORKERS = 1024  # more than that only exhaust the memory
# Pattern of a dotted key: what a number there, or each of several, may be.
_RANGES = (
    (r'.*dataloader\.batch_size', _COUNT),
    (r'.*dataloader\.num_workers', Range(0, _MOST_WORKERS + 1)),
    (r'train_cfg\.(max_epochs|max_iters|val_interval)', _COUNT),
    (r'train_cfg\.val_begin', Range(0)),
    (r'optim_wrapper(\..+)?\.lr', _POSITIVE),
    (r'optim_wrapper(\..+)?\.weight_decay', Range(0, whole=False)),
    (r'optim_wrapper(\..+)?\.betas', _SHARE),
    (r'optim_wrapper(\..+)?\.accumulative_counts', _COUNT),
    (r'optim_wrapper(\..+)?\.max_norm', _POSITIVE),
    (r'param_scheduler(\..+)?\.T_max', _POSITIVE),
    (r'param_scheduler(\..+)?\.(begin|eta_min)', Range(0, whole=False)),
    (r'param_scheduler(\..+)?\.end', _POSITIVE),
    (r'(default_hooks\.\w+|custom_hooks\.\d+)\.interval', _INTERVAL),
    (r'default_hooks\.checkpoint\.max_keep_ckpts', _INTERVAL),
    (r'randomness\.seed', Range(0, 2**32)),
    (r'(model\.)?(.+\.)?(patch_size|grid_size|num_codes|code_dim|img_size|embed_dims|num_heads|depth)', _COUNT),
    (r'model\.(.+\.)?(num_classes|in_channels|target_dims)', _COUNT),
    (r'model\.(.+\.)?topk', _COUNT),
    (r'model\.(.+\.)?(drop_path_rate|drop_rate)', _SHARE),
    (r'(model\.)?data_preprocessor\.std', _POSITIVE),
    (r'.*\.(num_masked|min_block)', _COUNT),
    (r'.*\.max_unreadable', _SHARE),
)
_PATTERNS = tuple((re.compile(pattern), allowed) for pattern, allowed in _RANGES)
# Pattern of a dotted key: what stands there. A component has a type; so have the entries of a list of them.
_COMPONENT, _GROUP, _LIST = 'a component, dict(type=...)', 'a group of settings, dict(...)', 'a list of components'
_SEVERAL = 'a component, dict(type=...), or a list of them'
_FORMS = tuple(
    (re.compile(pattern), form)
    for pattern, form in (
        (r'default_hooks\.\w+|custom_hooks\.\d+|visualizer', _COMPONENT),
        (r'\w+_dataloader\.(.+\.)?(dataset|sampler|batch_sampler|collate_fn)', _COMPONENT),
        (r'\w+_dataloader\.(.+\.)?pipeline\.\d+', _COMPONENT),
        (r'optim_wrapper\.optimizer|param_scheduler\.\d+|(val|test)_evaluator\.\d+', _COMPONENT),
        (r'optim_wrapper\.(clip_grad|paramwise_cfg)', _GROUP),
        (r'custom_hooks|\w+_dataloader\.(.+\.)?pipeline', _LIST),
        (r'param_scheduler', _SEVERAL),
    )
)
# Components and numbers for which mmengine takes no None.
_NEEDED = re.compile(
    r'.*(hooks|scheduler|pipeline|evaluator)\.\d+|\w+_dataloader\.(.+\.)?(dataset|collate_fn|pipeline)|'
    r'optim_wrapper\.optimizer|.*dataloader\.(batch_size|num_workers)|.*hooks\..+\.(interval|max_keep_ckpts)|'
    r'optim_wrapper\.(.+\.)?lr|.*\.arch\.(embed_dims|depth|num_heads)'
)


def check_settings(cfg: Config, is_training: bool) -> None:
    """Checks the values of a config before anything is built or written.

    Args:
        cfg: of the run.
        is_training: whether it will train, or be scored.

    Raises:
        InputError: with the first setting that is wrong, its value, and what it may be; or if the work dir cannot be
            written.
    """
    _check_sections(cfg, is_training)
    _check_names(cfg)
    settings = list(walk_settings({name: cfg[name] for name in cfg if name in known_keys()}))
    for key, value in settings:
        _check_form(cfg, key, value)
    for key, value in settings:
        _check_range(cfg, key, value)
    for key, value in settings:
        if isinstance(value, dict):
            _check_group(cfg, key, value)
    if cfg.get('default_scope') == 'mmseg':
        check_segmentation(cfg, settings)
    require_writable_folder(cfg.work_dir, 'work dir')


def _check_sections(cfg: Config, is_training: bool) -> None:
    """Checks that loaders, loops and evaluators are set together."""
    parts = {
        'train': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
        'val': ('val_dataloader', 'val_cfg', 'val_evaluator'),
        'test': ('test_dataloader', 'test_cfg', 'test_evaluator'),
    }
    needed = 'train' if is_training else 'test'
    for stage, keys in parts.items():
        missing = [key for key in keys if cfg.get(key) is None]
        if stage == needed and missing:
            verb = 'training' if is_training else 'scoring'
            raise InputError(
                f'{verb} needs {" and ".join(missing)}, which config {cfg.filename!r} does not set. Add them to the '
                'config.'
            )
        if missing and len(missing) < len(keys):
            present = [key for key in keys if key not in missing]
            raise InputError(
                f'config {cfg.filename!r} sets {" and ".join(present)} without {" and ".join(missing)}. Set all of '
                f'{", ".join(keys)}, or set all of them to None.'
            )
    wrapper = cfg.get('optim_wrapper')
    if isinstance(wrapper, dict) and not {'optimizer', 'constructor'} & set(wrapper):
        raise InputError(
            f"optim_wrapper.optimizer is missing in {cfg.filename!r}. Set it, for example dict(type='AdamW', lr=1e-3)."
        )
    for key in _DICTS:
        is_left_out = cfg.get(key) is None and key not in _NEVER_NONE
        if key in cfg and not is_left_out and not isinstance(cfg[key], dict):
            raise InputError(f'{key} is {cfg[key]!r} in {cfg.filename!r}, but must be a dict of settings')
    if 'randomness' in cfg and 'seed' not in cfg.randomness:
        raise InputError(f'randomness has no seed in {cfg.filename!r}. Set randomness.seed, or leave randomness out.')
    if not isinstance(cfg.get('default_scope', ''), str | None):
        raise InputError(
            f'default_scope is {cfg.default_scope!r} in {cfg.filename!r}, but must be the name of a package'
        )
    loop = cfg.get('train_cfg')
    if is_training and 'type' not in loop:
        length = 'max_epochs' if loop.get('by_epoch') else 'max_iters'
        if not isinstance(loop.get('by_epoch', True), bool):
            raise InputError(f'train_cfg.by_epoch is {loop.by_epoch!r} in {cfg.filename!r}, but must be True or False')
        for key in ('by_epoch', length):
            if key not in loop:
                by_epoch = f' (by_epoch={loop["by_epoch"]})' if key != 'by_epoch' else ''
                raise InputError(f'train_cfg.{key} is missing in {cfg.filename!r}{by_epoch}. Set it.')


def _check_names(cfg: Config) -> None:
    """Checks the names of settings in sections that mmengine passes on unchecked."""
    loop = EpochBasedTrainLoop if cfg.get('train_cfg', {}) and cfg.train_cfg.get('by_epoch') else IterBasedTrainLoop
    takers: dict[str, Callable] = {
        'train_cfg': loop,
        'val_cfg': ValLoop,
        'test_cfg': TestLoop,
        'log_processor': LogProcessor,
        'randomness': Runner.set_randomness,
        'train_dataloader': DataLoader,
        'val_dataloader': DataLoader,
        'test_dataloader': DataLoader,
    }
    for section, taker in takers.items():
        settings = cfg.get(section)
        if not isinstance(settings, dict) or 'type' in settings:
            continue
        if section == 'train_cfg' and 'by_epoch' not in settings:  # scoring does without
            continue
        known = set(inspect.signature(taker).parameters) - {'self', 'runner', 'dataloader', 'evaluator'}
        known |= {'by_epoch'} if section == 'train_cfg' else _LOADER_KEYS if taker is DataLoader else set()
        for name in settings:
            if name not in known and name != '_scope_':
                raise InputError(
                    f'{section} in {cfg.filename!r} has no setting {name!r}. {nearest(name, frozenset(known))}'
                )
        if (wrong := misfit([taker], settings)) is not None:
            raise InputError(f'{section}.{wrong} ({cfg.filename!r})')


def _check_form(cfg: Config, key: str, value: object) -> None:
    """Checks that components are dicts with a type."""
    is_list, is_group = isinstance(value, (list, tuple)), isinstance(value, dict) or callable(value)
    is_nameless = isinstance(value, dict) and 'type' not in value
    fits = {
        _COMPONENT: is_group and not is_nameless,
        _GROUP: is_group,
        _LIST: is_list,
        _SEVERAL: is_list or (is_group and value != {}),
    }
    for pattern, form in _FORMS:
        if pattern.fullmatch(key) and not fits[form] and (value is not None or _NEEDED.fullmatch(key)):
            raise InputError(f'{key} is {value!r} in {cfg.filename!r}: it must be {form}')
    if key.endswith(('.type', '.constructor')) and (not value or not (isinstance(value, str) or callable(value))):
        raise InputError(f'{key} is {value!r} in {cfg.filename!r}: it must be the name of a component')


def _check_range(cfg: Config, key: str, value: object) -> None:
    if value is None and not _NEEDED.fullmatch(key):
        return
    values = value if isinstance(value, (list, tuple)) else [value]
    for pattern, allowed in _PATTERNS:
        if pattern.fullmatch(key) and not (values and all(allowed.holds(each) for each in values)):
            each = 'each must be' if values is value else 'it must be'
            raise InputError(f'{key} is {value!r} in {cfg.filename!r}: {each} {allowed}')


def _check_group(cfg: Config, key: str, group: dict) -> None:
    """Checks settings that must fit their component and each other."""
    if (own := _own_component(group.get('type'))) is not None and (wrong := misfit([own], group)) is not None:
        raise InputError(f'{key}.{wrong} ({cfg.filename!r})')
    pairs = {name: group.get(name) for name in ('embed_dims', 'num_heads', 'grid_size', 'num_masked')}
    numbers = {name: int(value) for name, value in pairs.items() if isinstance(value, (int, float))}
    if {'embed_dims', 'num_heads'} <= set(numbers) and numbers['embed_dims'] % numbers['num_heads']:
        raise InputError(
            f'{key}.num_heads is {numbers["num_heads"]} in {cfg.filename!r}, but must divide '
            f'embed_dims={numbers["embed_dims"]}. Choose another number of heads.'
        )
    if {'grid_size', 'num_masked'} <= set(numbers) and numbers['num_masked'] > numbers['grid_size'] ** 2:
        raise InputError(
            f'{key}.num_masked is {numbers["num_masked"]} in {cfg.filename!r}, more than the '
            f'{numbers["grid_size"] ** 2} patches of grid_size={numbers["grid_size"]}. Choose a smaller number.'
        )


def _own_component(kind: object) -> Callable | None:
    """Constructor of a component of this package, by its type in a config; of others the annotations may be wrong."""
    component = kind
    if isinstance(kind, str):
        scope, _, name = kind.rpartition('.')
        registries = [each for each in vars(mmbeitv2.registry).values() if isinstance(each, Registry)]
        component = None
        for registry in registries if scope == mmbeitv2.registry.SCOPE else []:
            registry.import_from_location()
            component = registry.module_dict.get(name, component)
    if not callable(component) or not getattr(component, '__module__', '').startswith('mmbeitv2.'):
        return None
    return vars(component).get('__init__') if inspect.isclass(component) else component
