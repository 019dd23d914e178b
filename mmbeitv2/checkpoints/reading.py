"""Reads checkpoint files: finds the format of a file, and its weights under this package's names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from mmbeitv2.checkpoints.formats import Format, StateDict, check_shapes, is_kmeans, is_tokenizer, recognize, to_ours
from mmbeitv2.checkpoints.locating import locate
from mmbeitv2.checkpoints.tensors import read_file
from mmbeitv2.checkpoints.zoo import is_published
from mmbeitv2.errors import InputError

_MAKERS = {
    'mmbeitv2': 'this package',
    'official': 'the BEiT v2 release or timm',
    'mmpretrain': 'mmpretrain',
    'hf': 'Hugging Face transformers',
}
_ENCODER_PARTS = ('cls_token', 'mask_token', 'pos_embed', 'patch_embed', 'rel_pos_bias', 'blocks', 'norm', 'fc_norm')
_WRAPPERS = ('state_dict', 'model', 'module')


@dataclass
class Checkpoint:
    """The weights of a file.

    Attributes:
        path: the file.
        state: all its weights under the names of the file, without wrappers and ``module.``.
        format: the format of the names; None if they are not those of a BEiT.
        tokenizer: fingerprint of the tokenizer that was used in a pretraining run of this package; None if it is
            unknown.
    """

    path: str
    state: StateDict
    format: Format | None
    tokenizer: str | None = None

    @cached_property
    def ours(self) -> StateDict:
        """The weights under this package's names.

        Raises:
            InputError: if they are not the complete weights of a BEiT.
        """
        if self.format is None:
            raise InputError(
                f'checkpoint {self.path!r} does not hold a BEiT encoder (its first key is '
                f'{next(iter(self.state))!r}). Use a BEiT v2 checkpoint of this package or of the release.'
            )
        ours = to_ours(self.state, self.format)
        check_shapes(ours, self.path)
        return ours

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
        if is_kmeans(self.state):
            return 'a k-means tokenizer'
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

    Args:
        path: a path or a name that :func:`mmbeitv2.checkpoints.locating.locate` accepts.

    Raises:
        InputError: if the file is missing, holds no weights, or is refused by
            :func:`mmbeitv2.checkpoints.tensors.read_file`.
    """
    content = read_file(locate(path))
    state = weights_of(content)
    if not state:
        raise InputError(f'checkpoint {path!r} holds no weights. Use a file with a state dict.')
    return Checkpoint(str(path), state, recognize(state), _recorded_tokenizer(content))


def _recorded_tokenizer(content: object) -> str | None:
    """What :class:`mmbeitv2.engine.ResumeGuardHook` wrote of the tokenizer into a checkpoint."""
    for key in ('meta', 'run', 'tokenizer'):
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, str) else None


def weights_of(content: object) -> StateDict:
    """The weights in the content of a file, without wrappers; empty if there are none."""
    while isinstance(content, dict):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict):
        return {}
    return {
        key.removeprefix('module.'): value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }


# The last layers of mmseg's and mmpretrain's models, whose rows are classes.
_CLASSIFIERS = ('conv_seg.weight', 'head.fc.weight')


def check_fits(state: StateDict, wanted: StateDict, path: str) -> None:
    """Refuses a state dict with a weight of another shape or kind of number than the model's.

    Raises:
        InputError: naming the first such key, what the file has and what the model has.
    """
    for key, value in state.items():
        if key not in wanted:
            continue
        in_file, in_model = tuple(value.shape), tuple(wanted[key].shape)
        if in_file != in_model:
            difference = f'shape {in_file} in the file and {in_model} in the model'
            if key.endswith(_CLASSIFIERS) and in_file[1:] == in_model[1:]:
                difference += f', because the file was trained on {in_file[0]} classes and the config has {in_model[0]}'
        elif value.is_floating_point() != wanted[key].is_floating_point():
            difference = f'type {value.dtype} in the file and {wanted[key].dtype} in the model'
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
        check_maker(state, path)
    check_fits(state, wanted, path)
    if missing:
        raise InputError(
            f'checkpoint {path!r} does not fit: it lacks {missing[0]} ({len(missing)} of the {len(wanted)} weights '
            'of the model). Use the config that the checkpoint was trained with.'
        )
    if unexpected:
        raise InputError(
            f'checkpoint {path!r} does not fit: the model has no {unexpected[0]} ({len(unexpected)} of the '
            f'{len(state)} weights of the file). Use the config that the checkpoint was trained with.'
        )


def check_loadable(state: StateDict, wanted: StateDict, path: str) -> None:
    """Refuses a state dict of which nothing, or something of another shape, would be loaded into the model.

    Raises:
        InputError: naming the first key that does not fit.
    """
    if not set(state) & set(wanted):
        check_maker(state, path)
        first = f'the first key in the file is {next(iter(state))}' if state else 'the file holds no weights'
        raise InputError(
            f'checkpoint {path!r} has none of the {len(wanted)} weights of the model ({first}, the first in the '
            f'model is {next(iter(wanted), "none")}). Use the checkpoint of a model of this kind.'
        )
    check_fits(state, wanted, path)


def check_maker(state: StateDict, path: str) -> None:
    """Rejects a BEiT under the names of another library.

    Raises:
        InputError: with the command that renames its weights.
    """
    file = Checkpoint(path, state, recognize(state))
    if file.format not in ('mmbeitv2', None):
        raise InputError(
            f'checkpoint {path!r} is {file.source}, whose weights have other names. Convert it first: python '
            f'tools/convert_checkpoint.py {path} NEW.pth --to mmbeitv2.'
        )


def load_exactly(model: nn.Module, path: str) -> None:
    """Loads a checkpoint of this very model.

    Raises:
        InputError: naming the first key that is missing, has no place in the model, or does not fit.
    """
    model.load_state_dict(require_fit(model, path), strict=False)


def require_fit(model: nn.Module, path: str) -> StateDict:
    """The weights of a checkpoint of this very model.

    Raises:
        InputError: naming the first key that is missing, has no place in the model, or does not fit.
    """
    file = read_checkpoint(path)
    state = file.ours if is_published(path) else file.state
    check_exact(state, model.state_dict(), path)
    return state
