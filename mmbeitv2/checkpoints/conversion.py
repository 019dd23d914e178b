"""Writes checkpoints in the formats in which BEiT models are published."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

from mmengine.runner.checkpoint import save_checkpoint
from safetensors.torch import save
from torch import nn

from mmbeitv2.checkpoints.formats import Format, StateDict, from_ours, recognize
from mmbeitv2.checkpoints.hugging_face import hf_files, hf_weights
from mmbeitv2.checkpoints.locating import locate, projects_loader
from mmbeitv2.checkpoints.reading import Checkpoint, grids_of, read_checkpoint, require_sound
from mmbeitv2.errors import InputError
from mmbeitv2.fileio import AtomicBackend

# The key that the weights stand under in a file.
_WRAPPERS: dict[Format, str | None] = {
    'mmbeitv2': 'state_dict',
    'mmpretrain': 'state_dict',
    'official': 'model',
    'timm': None,
}


# What of a training's `meta` a converted file keeps.
_KEPT = ('dataset_meta', 'cfg', 'epoch', 'iter', 'run')
_HF_FILES = ('model.safetensors', 'config.json', 'preprocessor_config.json')


def convert_checkpoint(
    source: str, target: str, to: Format, use_ema: bool = False, model: nn.Module | None = None
) -> tuple[StateDict, list[str]]:
    """Writes the weights of a file in another format.

    Args:
        source: a checkpoint of this package, the BEiT v2 release, timm, mmpretrain or Hugging Face transformers: a
            path, or any other name that :func:`mmbeitv2.checkpoints.locating.locate` accepts.
        target: file to write; if its name ends in ``.safetensors``, a safetensors file with only the weights. Other
            files for OpenMMLab also keep the names of the classes and the config of the training. For
            ``'hf'`` a folder, which ``from_pretrained`` and ``pipeline`` load.
        to: the format. A folder for ``'hf'`` also tells how images are prepared and what the classes are called, see
            ``mmbeitv2.checkpoints.hugging_face.hf_files``.
        use_ema: take the averaged weights of the source, see :func:`read_checkpoint`.
        model: what :func:`mmbeitv2.apis.load_model` made of the source, for a source that does not hold all weights:
            one with LoRA layers. For ``'mmbeitv2'``, any model. Its weights are the last ones, not averaged.

    Returns:
        The weights written, and the names (in this package) of those that the format cannot hold.

    Raises:
        InputError: if the file does not hold a BEiT model, the format cannot hold it, or the target is the source
            itself, a folder with other files in it, or of the wrong kind.
    """
    path = Path(target)
    _check_target(None if projects_loader(source) else locate(source), path, to)
    file = read_checkpoint(source, use_ema)
    if model is not None and use_ema:
        raise InputError('--ema does not go with --config, which loads the last weights. Leave one of them out.')
    if model is not None:
        state = model.state_dict()
        file = Checkpoint(file.path, dict(state), recognize(state), grids_of(state), file.meta)
    ours = file.state if model is not None and to == 'mmbeitv2' else file.ours
    require_sound(ours, ours, file.path)
    state, left_out = hf_weights(file) if to == 'hf' else from_ours(ours, to)
    write = AtomicBackend().put
    if to == 'hf':
        contents = {name: json.dumps(content, indent=2) + '\n' for name, content in hf_files(file).items()}
        write(save(state, metadata={'format': 'pt'}), path / 'model.safetensors')
        for name, text in contents.items():
            write(text.encode(), path / name)
    elif path.suffix == '.safetensors':
        write(save(state, metadata={'format': 'pt'}), path)
    else:
        wrapper = _WRAPPERS[to]
        if file.grids:  # which the numbers of positions do not tell
            state = OrderedDict(state)
            state._metadata = {name: {'grid_size': grid} for name, grid in file.grids.items()}  # type: ignore[attr-defined]
        content: Any = {wrapper: state} if wrapper else state
        if wrapper == 'state_dict':
            kept = {key: value for key, value in file.meta.items() if key in _KEPT}
            if model is not None:
                kept.pop('run', None)  # which describes the frozen weights of LoRA, now merged
            content['meta'] = kept
        save_checkpoint(content, target, backend_args=dict(backend='mmbeitv2.AtomicBackend'))
    return state, left_out


def _check_target(source: Path | None, target: Path, to: Format) -> None:
    """Refuses to write over the file that is read or a folder with other files in it, and to a path of the wrong
    kind."""
    is_folder = to == 'hf'
    if target.exists() and target.is_dir() != is_folder:
        kinds = ('file', 'folder') if is_folder else ('folder', 'file')
        raise InputError(f'{str(target)!r} is a {kinds[0]}, but {to} is written as a {kinds[1]}. Pass another name.')
    others = sorted(entry.name for entry in target.iterdir() if entry.name not in _HF_FILES) if target.is_dir() else []
    if others:
        raise InputError(
            f'folder {str(target)!r} holds other files ({", ".join(others[:3])}{", ..." if others[3:] else ""}). '
            'Choose a new folder.'
        )
    if source is None:
        return
    sources, targets = ([path, *(path / name for name in _HF_FILES)] for path in (source, target))
    if any(a.samefile(b) for a in sources for b in targets if a.exists() and b.exists()):
        raise InputError(
            f'{str(target)!r} is the checkpoint to convert, and would be overwritten. Choose another name.'
        )
