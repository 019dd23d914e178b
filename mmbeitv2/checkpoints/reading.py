"""Reading checkpoint files: which format a file has, and its weights under this package's names."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mmbeitv2.errors import InputError

from .formats import Format, StateDict, is_tokenizer, recognise, to_ours

_MAKERS = {
    'mmbeitv2': 'this package',
    'official': 'the BEiT v2 release or timm',
    'mmpretrain': 'mmpretrain',
    'hf': 'Hugging Face transformers',
}
_ENCODER_PARTS = ('cls_token', 'mask_token', 'pos_embed', 'patch_embed', 'rel_pos_bias', 'blocks', 'norm', 'fc_norm')
_WRAPPERS = ('state_dict', 'model', 'module')


class _Inert:
    """Stands in for what mmengine writes beside the weights (the history of the log), of which nothing is wanted."""

    def __new__(cls, *args: object) -> _Inert:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


_IGNORED: list[Callable | tuple[Callable, str]] = [
    (_Inert, name)
    for name in (
        'builtins.getattr',
        'mmengine.logging.history_buffer.HistoryBuffer',
        *(
            f'numpy.{core}.multiarray.{function}'
            for core in ('core', '_core')
            for function in ('_reconstruct', 'scalar')
        ),
        'numpy.ndarray',
        'numpy.dtype',
        *(f'numpy.dtypes.{kind}DType' for kind in ('Float64', 'Float32', 'Int64', 'Int32', 'UInt32')),
    )
]


@dataclass
class Checkpoint:
    """The weights of a file.

    Attributes:
        path: the file.
        state: all its weights under the file's names, wrappers and ``module.`` taken off.
        format: what names they are; None if they are no BEiT's.
    """

    path: str
    state: StateDict
    format: Format | None

    @cached_property
    def ours(self) -> StateDict:
        """The weights under this package's names."""
        if self.format is None:
            raise InputError(
                f'checkpoint {self.path!r} holds no BEiT encoder (its first key is {next(iter(self.state))!r}): '
                'give one of BEiT v2, ours or released'
            )
        return to_ours(self.state, self.format)

    @property
    def is_tokenizer(self) -> bool:
        """Whether the file is a VQ-KD."""
        return is_tokenizer(self.state)

    @property
    def encoder(self) -> StateDict:
        """Weights of the encoder under its own names."""
        prefix = 'encoder.' if self.is_tokenizer else 'backbone.'
        inner = {key[len(prefix) :]: value for key, value in self.ours.items() if key.startswith(prefix)}
        return {key: value for key, value in inner.items() if key.partition('.')[0] in _ENCODER_PARTS}

    @property
    def source(self) -> str:
        """What the file is, in words."""
        if self.format is None:
            return 'of unknown format'
        if self.is_tokenizer:
            return 'a VQ-KD tokenizer'
        ours = self.ours
        kinds = {
            'head.lm_head.weight': 'pretrained model',
            'head.fc.weight': 'classifier',
            'decode_head.conv_seg.weight': 'segmentation model',
        }
        kind = next((kind for key, kind in kinds.items() if key in ours), 'encoder')
        return f'{"an" if kind == "encoder" else "a"} {kind} of {_MAKERS[self.format]}'


def read_checkpoint(path: str) -> Checkpoint:
    """Reads a file of this package, of the BEiT v2 release, of timm, mmpretrain or Hugging Face transformers.

    Only tensors and plain data are unpickled (``weights_only``).

    Raises:
        InputError: if the file is missing, cannot be read, or holds no weights.
    """
    if Path(path).is_dir():  # as save_pretrained leaves it
        path = str(Path(path) / 'model.safetensors')
    if not Path(path).is_file():
        raise InputError(f'checkpoint {path!r} not found: give an existing file')
    try:
        if str(path).endswith('.safetensors'):
            content: object = load_file(path)
        else:
            with torch.serialization.safe_globals(_IGNORED):
                content = torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, SafetensorError) as error:
        reason = next(iter(str(error).splitlines()), 'it is empty')[:200]
        raise InputError(
            f'checkpoint {path!r} cannot be read ({reason}): it is no weights file, or is cut off'
        ) from error
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    state = (
        {key.removeprefix('module.'): value for key, value in content.items() if isinstance(value, Tensor)}
        if isinstance(content, dict)
        else {}
    )
    if not state:
        raise InputError(f'checkpoint {path!r} holds no weights: give a file with a state dict')
    return Checkpoint(str(path), state, recognise(state))


def check_fits(state: StateDict, wanted: StateDict, path: str) -> None:
    """Refuses a state dict with a weight of another shape than the model's.

    Raises:
        InputError: naming the first such key and both shapes.
    """
    for key, value in state.items():
        if key in wanted and value.shape != wanted[key].shape:
            raise InputError(
                f'checkpoint {path!r} does not fit: {key} has shape {tuple(value.shape)} in the file and '
                f'{tuple(wanted[key].shape)} in the model: '
                'use the config that the checkpoint was made with, or load the backbone alone by '
                'init_cfg=dict(type="mmbeitv2.PretrainedBEiTv2")'
            )


def load_exactly(model: nn.Module, path: str) -> None:
    """Loads a checkpoint of this very model.

    Raises:
        InputError: naming the first key that is missing or has another shape, which mmengine would only log.
    """
    state = require_fit(model, path)
    model.load_state_dict(state, strict=False)


def require_fit(model: nn.Module, path: str) -> StateDict:
    """Refuses a checkpoint whose weights do not fit the model; gives them if they do.

    Raises:
        InputError: naming the first key that is missing or has another shape.
    """
    file = read_checkpoint(path)
    if file.format not in ('mmbeitv2', None):
        raise InputError(
            f'checkpoint {path!r} is {file.source}: write it as one of this package first, by '
            f'tools/convert_checkpoint.py {path} NEW.pth --to mmbeitv2'
        )
    state, wanted = file.state, model.state_dict()
    check_fits(state, wanted, path)
    missing = [key for key in wanted if key not in state]
    if missing:
        raise InputError(
            f'checkpoint {path!r} lacks {missing[0]} ({len(missing)} of {len(wanted)} weights): give the '
            'checkpoint of this config'
        )
    return state
