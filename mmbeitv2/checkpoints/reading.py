"""Reads checkpoint files: finds the format of a file, and its weights under this package's names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmbeitv2.backbones.lora import frozen_fingerprints
from mmbeitv2.checkpoints.formats import Format, StateDict, is_tokenizer, recognize, require_complete, to_ours
from mmbeitv2.checkpoints.locating import locate, projects_loader
from mmbeitv2.checkpoints.tensors import read_file
from mmbeitv2.checkpoints.zoo import is_published
from mmbeitv2.errors import InputError

_MAKERS = {
    'mmbeitv2': 'this package',
    'official': 'the BEiT v2 release or timm',
    'mmpretrain': 'mmpretrain',
    'hf': 'Hugging Face transformers',
}
ENCODER_PARTS = ('cls_token', 'mask_token', 'pos_embed', 'patch_embed', 'rel_pos_bias', 'blocks', 'norm', 'fc_norm')
WRAPPERS = ('state_dict', 'model', 'module')
_AVERAGED = ('model_ema', 'state_dict_ema')


@dataclass
class Checkpoint:
    """The weights of a file.

    Attributes:
        path: the file.
        state: all its weights under the names of the file, without wrappers.
        format: the format of the names; None if they are not those of a BEiT.
        grids: patch grid (h, w) of each encoder, by its name in the model (``''`` is the model itself), where the file
            tells it.
        meta: what the file says about the run that made it.
    """

    path: str
    state: StateDict
    format: Format | None
    grids: dict[str, tuple[int, int]] = field(default_factory=dict)
    meta: dict = field(default_factory=dict)

    @cached_property
    def ours(self) -> StateDict:
        """The weights under this package's names.

        Raises:
            InputError: if they are not the complete weights of a BEiT. Whoever uses them checks their numbers
                (``require_sound``).
        """
        self.require_merged()
        if self.format is None:
            raise InputError(
                f'checkpoint {self.path!r} does not hold a BEiT encoder (its first key is '
                f'{next(iter(self.state))!r}). Use a BEiT v2 checkpoint of this package or of the release.'
            )
        if self.format == 'hf':  # whose queries, keys and values are joined
            require_sound(self.state, self.state, self.path)
        ours = to_ours(self.state, self.format)
        require_complete(ours, self.path)
        return ours

    @property
    def is_lora(self) -> bool:
        """Whether it is of a ``LoRAModel``, which only saves what it trains."""
        return any('.lora_' in key for key in self.state)

    def require_merged(self) -> None:
        """Refuses a checkpoint of a ``LoRAModel``."""
        if self.is_lora:
            raise InputError(
                f'checkpoint {self.path!r} holds LoRA layers without the weights that they change. Merge both first: '
                f'python tools/convert_checkpoint.py {self.path} NEW.pth --to mmbeitv2 --config CONFIG.'
            )

    @property
    def encoder(self) -> StateDict:
        """Weights of the encoder under its own names, with those that a subclass of ours has beside."""
        prefix = 'encoder.' if is_tokenizer(self.state) else 'backbone.'
        inner = {key[len(prefix) :]: value for key, value in self.ours.items() if key.startswith(prefix)}
        if prefix == 'backbone.' and self.format == 'mmbeitv2':
            return inner
        return {key: value for key, value in inner.items() if key.partition('.')[0] in ENCODER_PARTS}

    def grid_of(self, prefix: str) -> tuple[int, int] | None:
        """The patch grid that the file tells of the encoder, a backbone for the model ``''``; None if it tells none."""
        names = (prefix.rstrip('.'), 'backbone', 'encoder' if is_tokenizer(self.state) else '')
        return next((self.grids[name] for name in names if name in self.grids), None)

    @property
    def tokenizer(self) -> str | None:
        """Fingerprint of the tokenizer of a pretraining run, as :class:`mmbeitv2.engine.ResumeGuardHook` wrote it."""
        run = self.meta.get('run')
        return run.get('tokenizer') if isinstance(run, dict) else None

    @property
    def source(self) -> str:
        """What the file is, in words."""
        if 'teacher_fingerprint' in self.state:
            return 'a k-means tokenizer'
        if is_tokenizer(self.state):
            return 'a VQ-KD tokenizer'
        if self.format is None:
            return 'a file with other names than those of a BEiT'
        kinds = {
            'head.lm_head.weight': 'a pretrained model',
            'head.fc.weight': 'a classifier',
            'decode_head.conv_seg.weight': 'a segmentation model',
        }
        kind = next((kind for key, kind in kinds.items() if key in self.ours), 'an encoder')
        return f'{kind} of {_MAKERS[self.format]}'


def read_checkpoint(path: str, use_ema: bool = False) -> Checkpoint:
    """Reads a file of this package, of the BEiT v2 release, of timm, mmpretrain or Hugging Face transformers.

    Args:
        path: a path, a name that :func:`mmbeitv2.checkpoints.locating.locate` accepts, or one with a scheme that the
            project registered in mmengine's ``CheckpointLoader``.
        use_ema: take the averaged weights that a file has beside the last ones (``model_ema`` of DeiT,
            ``state_dict_ema`` of timm). That they are left out otherwise is logged. mmengine's ``EMAHook`` writes the
            averaged weights as the ``state_dict``, so they are taken in any case, which is logged too.

    Raises:
        InputError: if the file is missing, holds no weights, or is refused by
            :func:`mmbeitv2.checkpoints.tensors.read_file`.
    """
    loader = projects_loader(path)
    content = loader(path, map_location='cpu') if loader else read_file(locate(path))
    content = content if isinstance(content, dict) else {}
    meta = content.get('meta')
    averaged = next((content[key] for key in _AVERAGED if key in content), None)
    if 'ema_state_dict' in content:
        note = 'its state_dict holds the weights that mmengine averaged (EMAHook); these are taken'
        print_log(f'{path}: {note}, not the last ones of the training.', logger='current')
        averaged = content
    elif use_ema and averaged is None:
        raise InputError(f'checkpoint {path!r} has no averaged weights ({" or ".join(_AVERAGED)}).')
    elif averaged is not None and not use_ema:
        option = 'use_ema=True (convert_checkpoint.py --ema) takes them instead'
        print_log(f'{path} also has averaged weights, which are left out; {option}.', logger='current')
    content = averaged if use_ema else content
    state = weights_of(content)
    if not state:
        raise InputError(f'checkpoint {path!r} holds no weights. Use a file with a state dict.')
    return Checkpoint(
        str(path), state, recognize(state), grids_of(_unwrapped(content)), meta if isinstance(meta, dict) else {}
    )


def weights_of(content: object) -> StateDict:
    """The weights in the content of a file, without what wraps them or, as DDP and ``torch.compile`` do, their names;
    empty if there are none."""
    content = _unwrapped(content)
    return {
        _bare(key): value
        for key, value in (content.items() if isinstance(content, dict) else ())
        if isinstance(key, str) and isinstance(value, Tensor)
    }


def named_as_in(model: nn.Module, state: StateDict) -> StateDict:
    """The weights of a file under the names of the model, which begin with ``module.`` in a ``LoRAModel``."""
    names = {_bare(key): key for key in model.state_dict()}
    return {names.get(key, key): value for key, value in state.items()}


def _unwrapped(content: Any) -> Any:
    while isinstance(content, dict):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    return content


def _bare(key: str) -> str:
    return key.replace('_orig_mod.', '').removeprefix('module.')


def grids_of(state: Any) -> dict[str, tuple[int, int]]:
    """What :class:`mmbeitv2.BEiTv2ViT` notes about itself in a state dict, beside torch's versions of modules."""
    versions = getattr(state, '_metadata', None) or {}
    noted = {_bare(f'{name}.')[:-1]: of.get('grid_size') for name, of in versions.items() if isinstance(of, dict)}
    return {name: tuple(grid) for name, grid in noted.items() if grid is not None}


def require_sound(state: StateDict, names: Iterable[str], path: str) -> None:
    """Refuses weights that no training can have left behind, or that are not dense tensors.

    Raises:
        InputError: naming the first one.
    """
    for name in names:
        value = state[name]
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise InputError(f'checkpoint {path!r} cannot be used: {name} is no dense tensor with numbers')
        # torch.isfinite knows no type of one byte.
        wrong = value.numel() - int(torch.isfinite(value.float() if value.element_size() == 1 else value).sum())
        if wrong:
            raise InputError(
                f'checkpoint {path!r} cannot be used: it has NaN or infinite numbers ({wrong} of {value.numel()} in '
                f'{name}), so the training that wrote it had diverged. Use an earlier checkpoint.'
            )


def check_fits(state: StateDict, wanted: StateDict, path: str) -> None:
    """Refuses a state dict with a weight of another shape or kind of number than the model's.

    Raises:
        InputError: naming the first such key, what the file has and what the model has.
    """
    for key in [key for key in state if key in wanted]:
        in_file, in_model = tuple(state[key].shape), tuple(wanted[key].shape)
        if in_file != in_model:
            difference = f'shape {in_file} in the file and {in_model} in the model'
        elif state[key].is_floating_point() != wanted[key].is_floating_point():
            difference = f'type {state[key].dtype} in the file and {wanted[key].dtype} in the model'
        else:
            continue
        raise InputError(
            f'checkpoint {path!r} does not fit: {key} has {difference}. Use the config that the checkpoint was '
            'trained with, or load the backbone alone by init_cfg=dict(type="mmbeitv2.PretrainedBEiTv2")'
        )


def check_exact(state: StateDict, wanted: StateDict, path: str) -> None:
    """Refuses a state dict that is not of this very model.

    Raises:
        InputError: naming the first key that is missing, has no place in the model, or does not fit.
    """
    missing = [key for key in wanted if key not in state and not key.endswith('num_batches_tracked')]
    unexpected = [key for key in state if key not in wanted]
    if missing or unexpected:
        _check_maker(state, path)
    check_fits(state, wanted, path)
    if missing or unexpected:
        what = f'it lacks {missing[0]}' if missing else f'the model has no {unexpected[0]}'
        raise InputError(
            f'checkpoint {path!r} does not fit: {what}. Use the config that the checkpoint was trained with.'
        )


def check_loadable(state: StateDict, wanted: StateDict, path: str) -> None:
    """Refuses a state dict of which nothing, or something of another shape, would be loaded into the model.

    Raises:
        InputError: naming the first key that does not fit.
    """
    if not set(state) & set(wanted):
        _check_maker(state, path)
        raise InputError(
            f'checkpoint {path!r} has none of the {len(wanted)} weights of the model (the first key in the file is '
            f'{next(iter(state), None)}). Use the checkpoint of a model of this kind.'
        )
    check_fits(state, wanted, path)


def _check_maker(state: StateDict, path: str) -> None:
    """Rejects a BEiT under the names of another library, with the command that renames its weights."""
    file = Checkpoint(path, state, recognize(state))
    if file.format not in ('mmbeitv2', None):
        raise InputError(
            f'checkpoint {path!r} is {file.source}, whose weights have other names. Convert it first: python '
            f'tools/convert_checkpoint.py {path} NEW.pth --to mmbeitv2.'
        )


def require_fit(model: nn.Module, checkpoint: str | Checkpoint) -> StateDict:
    """The weights of a checkpoint of this very model, of whatever library.

    Args:
        model: which they must fit.
        checkpoint: its path, or what :func:`read_checkpoint` made of it.

    Raises:
        InputError: naming the first key that is missing, has no place in the model, does not fit, or is not finite
            (buffers may be: a mask has -inf).
    """
    file = read_checkpoint(checkpoint) if isinstance(checkpoint, str) else checkpoint
    state = named_as_in(model, file.ours if is_published(file.path) else file.state)
    check_exact(state, model.state_dict(), file.path)
    require_sound(state, [name for name, _ in model.named_parameters() if name in state], file.path)
    require_same_frozen(model, file)
    return state


def require_same_frozen(model: nn.Module, file: Checkpoint) -> None:
    """Checks that LoRA layers come back to the frozen weights that they were trained on, where the file tells them.

    Raises:
        InputError: naming the ``LoRAModel`` whose weights are others.
    """
    run = file.meta.get('run')
    for name, now in frozen_fingerprints(model).items():
        former = run.get(name, now) if isinstance(run, dict) else now
        if former != now:
            raise InputError(
                f'the LoRA layers in checkpoint {file.path!r} were trained on other frozen weights of {name} '
                f'({former}) than those of the config ({now}). Set alpha, rank and the init_cfg of its module as in '
                'the training.'
            )
