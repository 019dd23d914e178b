"""Reading checkpoint files: which format a file has, and its weights under this package's names."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mmbeitv2.errors import InputError

StateDict = dict[str, Tensor]

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
        source: what it is, in words.
        state: all its weights, wrappers and ``module.`` taken off.
        encoder_prefix: what stands before the encoder's own names; None if the file has no BEiT encoder.
        is_tokenizer: the file is a VQ-KD.
    """

    path: str
    source: str
    state: StateDict
    encoder_prefix: str | None
    is_tokenizer: bool

    @property
    def encoder(self) -> StateDict:
        """Weights of the encoder under its own names."""
        if self.encoder_prefix is None:
            raise InputError(
                f'checkpoint {self.path!r} holds no BEiT encoder (its first key is {next(iter(self.state))!r}): '
                'give one of BEiT v2, ours or released'
            )
        prefix = self.encoder_prefix
        return {
            key[len(prefix) :]: value
            for key, value in self.state.items()
            if key.startswith(prefix) and _is_encoder_key(key[len(prefix) :])
        }


def read_checkpoint(path: str) -> Checkpoint:
    """Reads a file of this package, of the BEiT v2 release or of timm.

    Only tensors and plain data are unpickled (``weights_only``).

    Raises:
        InputError: if the file is missing, cannot be read, or holds no weights.
    """
    if not Path(path).is_file():
        raise InputError(f'checkpoint {path!r} not found: give an existing file')
    if str(path).endswith('.safetensors'):
        from safetensors.torch import load_file

        content: object = load_file(path)
    else:
        try:
            with torch.serialization.safe_globals(_IGNORED):
                content = torch.load(path, map_location='cpu', weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise InputError(
                f'checkpoint {path!r} cannot be read ({str(error).splitlines()[0][:200]}): it is no weights file, '
                'or is cut off'
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
    return _recognise(str(path), state)


def _recognise(path: str, state: StateDict) -> Checkpoint:
    is_tokenizer = 'quantize.embedding.weight' in state and 'encoder.patch_embed.proj.weight' in state
    if is_tokenizer:
        return Checkpoint(path, 'a VQ-KD tokenizer', state, 'encoder.', True)
    if 'backbone.patch_embed.proj.weight' in state:
        kind = (
            'pretraining'
            if 'head.lm_head.weight' in state
            else 'segmentation'
            if 'decode_head.conv_seg.weight' in state
            else 'classification'
        )
        return Checkpoint(path, f'a {kind} model of OpenMMLab', state, 'backbone.', False)
    if 'patch_embed.proj.weight' in state and 'blocks.0.attn.qkv.weight' in state:
        kind = (
            'pretrained model' if 'lm_head.weight' in state else 'classifier' if 'head.weight' in state else 'encoder'
        )
        return Checkpoint(path, f'a {kind} of the BEiT v2 release or timm', state, '', False)
    return Checkpoint(path, 'of unknown format', state, None, False)


def _is_encoder_key(key: str) -> bool:
    return key.partition('.')[0] in (
        'cls_token',
        'mask_token',
        'pos_embed',
        'patch_embed',
        'rel_pos_bias',
        'blocks',
        'norm',
        'fc_norm',
    )


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
    state, wanted = read_checkpoint(path).state, model.state_dict()
    check_fits(state, wanted, path)
    missing = [key for key in wanted if key not in state]
    if missing:
        raise InputError(
            f'checkpoint {path!r} lacks {missing[0]} ({len(missing)} of {len(wanted)} weights): give the '
            'checkpoint of this config'
        )
    return state
