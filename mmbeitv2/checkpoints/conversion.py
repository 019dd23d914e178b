"""Writes checkpoints in the formats in which BEiT models are published."""

from __future__ import annotations

import json
import math
from pathlib import Path

from mmengine.runner.checkpoint import save_checkpoint
from safetensors.torch import save

from mmbeitv2.checkpoints.formats import SHARED_TABLE, TABLE, Format, StateDict, from_ours
from mmbeitv2.checkpoints.locating import locate
from mmbeitv2.checkpoints.reading import read_checkpoint
from mmbeitv2.errors import InputError
from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.layers.positions import NUM_CLS_DISTANCES

# The key that the weights stand under in a file.
_WRAPPERS: dict[Format, str | None] = {
    'mmbeitv2': 'state_dict',
    'mmpretrain': 'state_dict',
    'official': 'model',
    'timm': None,
}


_HF_FILES = ('model.safetensors', 'config.json')


def convert_checkpoint(source: str, target: str, to: Format, use_ema: bool = False) -> tuple[StateDict, list[str]]:
    """Writes the weights of a file in another format.

    Args:
        source: a checkpoint of this package, the BEiT v2 release, timm, mmpretrain or Hugging Face transformers: a
            path, or any other name that :func:`mmbeitv2.checkpoints.locating.locate` accepts.
        target: file to write; if its name ends in ``.safetensors``, a safetensors file with only the weights. For
            ``'hf'`` a folder with ``config.json`` and ``model.safetensors``, which ``from_pretrained`` loads.
        to: the format.
        use_ema: take the averaged weights of the source, see :func:`read_checkpoint`.

    Returns:
        The weights written, and the names (in this package) of those that the format cannot hold.

    Raises:
        InputError: if the file does not hold a BEiT model, the format cannot hold it, or the target is the source
            itself, a folder with other files in it, or of the wrong kind.
    """
    path = Path(target)
    _check_target(locate(source), path, to)
    ours = read_checkpoint(source, use_ema).ours
    state, left_out = from_ours(ours, to)
    write = AtomicBackend().put
    if to == 'hf':
        config = json.dumps(hf_config(ours), indent=2) + '\n'
        write(save(state, metadata={'format': 'pt'}), path / 'model.safetensors')
        write(config.encode(), path / 'config.json')
    elif path.suffix == '.safetensors':
        write(save(state, metadata={'format': 'pt'}), path)
    else:
        wrapper = _WRAPPERS[to]
        save_checkpoint(
            {wrapper: state} if wrapper else state, target, backend_args=dict(backend='mmbeitv2.AtomicBackend')
        )
    return state, left_out


def _check_target(source: Path, target: Path, to: Format) -> None:
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
    sources, targets = ([path, *(path / name for name in _HF_FILES)] for path in (source, target))
    if any(a.samefile(b) for a in sources for b in targets if a.exists() and b.exists()):
        raise InputError(
            f'{str(target)!r} is the checkpoint to convert, and would be overwritten. Choose another name.'
        )


def hf_config(ours: StateDict) -> dict:
    """The ``config.json`` of Hugging Face's BEiT for the weights of a model of this package."""
    width, channels, patch_size, _ = ours['backbone.patch_embed.proj.weight'].shape
    depth = len({key.split('.')[2] for key in ours if key.startswith('backbone.blocks.')})
    is_shared = f'backbone.{SHARED_TABLE}' in ours
    table = ours.get(f'backbone.{SHARED_TABLE}', ours.get(f'backbone.blocks.0.attn.{TABLE}'))
    positions = ours.get('backbone.pos_embed')
    count = len(table) - NUM_CLS_DISTANCES if table is not None else 0 if positions is None else positions.shape[1] - 1
    root = math.isqrt(max(count, 0))
    if root == 0 or root * root != count:
        raise InputError('the hf format needs the position parameters of a square image, which the model does not have')
    side = root if table is None else (root + 1) // 2  # a table has 2·side-1 distances each way
    config: dict = dict(
        model_type='beit',
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // 64 if table is None else table.shape[1],
        intermediate_size=len(ours['backbone.blocks.0.mlp.fc1.weight']),
        layer_norm_eps=1e-6,
        image_size=side * patch_size,
        patch_size=patch_size,
        num_channels=channels,
        use_mask_token='backbone.mask_token' in ours,
        use_absolute_position_embeddings=positions is not None,
        use_relative_position_bias=table is not None and not is_shared,
        use_shared_relative_position_bias=is_shared,
        layer_scale_init_value=0.1 if 'backbone.blocks.0.gamma_1' in ours else 0.0,  # transformers refuses 0
        # Otherwise the encoder has a norm of its own, which in masked image modeling belongs to the head.
        use_mean_pooling='backbone.norm.weight' not in ours or 'head.lm_head.weight' in ours,
        architectures=['BeitModel'],
    )
    if 'head.lm_head.weight' in ours:
        config |= dict(vocab_size=len(ours['head.lm_head.weight']), architectures=['BeitForMaskedImageModeling'])
    elif 'head.fc.weight' in ours:
        config |= dict(num_labels=len(ours['head.fc.weight']), architectures=['BeitForImageClassification'])
    return config
