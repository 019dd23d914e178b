"""How the weights of a BEiT model are named in the formats in which such models are published.

A table is used in both directions. Each pair is the beginning of a name in this package and in the other format, and
``{i}`` is the number of a block; the first pair that matches is used. The encoder's own names are the release's, which
are timm's too.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

import torch
from torch import Tensor

from mmbeitv2.errors import InputError

StateDict = dict[str, Tensor]
Format = Literal['mmbeitv2', 'official', 'timm', 'mmpretrain', 'hf']
FORMATS: tuple[Format, ...] = get_args(Format)
Pairs = list[tuple[str, str]]

TABLE = 'relative_position_bias_table'
SHARED_TABLE = f'rel_pos_bias.{TABLE}'


def _inside_blocks(blocks: Pairs, inner: Pairs) -> Pairs:
    """Pairs for what stands inside the blocks of several modules."""
    return [(f'{a}.{{i}}.{c}', f'{b}.{{i}}.{d}') for a, b in blocks for c, d in inner]


_OFFICIAL: Pairs = [
    ('neck.blocks.', 'cls_pt_layers.'),
    ('neck.norm.', 'cls_pt_norm.'),
    ('head.cls_pt_lm_head.', 'cls_pt_lm_head.'),
    ('head.lm_head.', 'lm_head.'),
    ('head.fc.', 'head.'),
    ('backbone.', ''),
]
# The release's segmentation has its pyramid inside the backbone.
_OFFICIAL_SEGMENTATION: Pairs = [
    ('neck.upsample_4x.', 'backbone.fpn1.'),
    ('neck.upsample_2x.', 'backbone.fpn2.'),
    ('', ''),
]
_TIMM: Pairs = [
    ('head.fc.', 'head.'),
    # No mask token.
    *((f'backbone.{part}', part) for part in ('cls_token', 'pos_embed', 'patch_embed', 'blocks', 'norm', 'fc_norm')),
]
_MMPRETRAIN: Pairs = [
    *_inside_blocks(
        [
            ('backbone.blocks', 'backbone.layers'),
            ('neck.blocks', 'neck.patch_aggregation'),
            ('encoder.blocks', 'encoder.layers'),
            ('decoder.blocks', 'decoder.layers'),
        ],
        [
            ('norm1.', 'ln1.'),
            ('norm2.', 'ln2.'),
            ('mlp.fc1.', 'ffn.layers.0.0.'),
            ('mlp.fc2.', 'ffn.layers.1.'),
            ('', ''),
        ],
    ),
    ('backbone.patch_embed.proj.', 'backbone.patch_embed.projection.'),
    ('encoder.patch_embed.proj.', 'encoder.patch_embed.projection.'),
    ('decoder.patch_embed.proj.', 'decoder.patch_embed.projection.'),
    ('encoder.fc_norm.', 'encoder.ln1.'),
    ('decoder.fc_norm.', 'decoder.ln1.'),
    ('backbone.fc_norm.', 'backbone.ln2.'),
    ('backbone.norm.', 'neck.norm.'),  # pretraining
    ('backbone.norm.', 'backbone.ln1.'),
    ('head.lm_head.', 'head.cls_head.'),
    *((prefix, prefix) for prefix in ('backbone.', 'head.fc.', 'quantize.', 'encoder.', 'decoder.')),
    *((f'{name}_task_layer.', f'{name}_task_layer.') for name in ('encode', 'decode')),
    # mmseg's segmentors, whose encoder has the same names.
    *((prefix, prefix) for prefix in ('neck.upsample_', 'decode_head.', 'auxiliary_head.')),
]
_HF: Pairs = [
    *_inside_blocks(
        [('backbone.blocks', 'beit.encoder.layer')],
        [
            ('norm1.', 'layernorm_before.'),
            ('norm2.', 'layernorm_after.'),
            ('gamma_', 'lambda_'),
            ('mlp.fc1.', 'intermediate.dense.'),
            ('mlp.fc2.', 'output.dense.'),
            ('attn.proj.', 'attention.output.dense.'),
            *((f'attn.{part[0]}_{kind}', f'attention.attention.{part}.{kind}') for part in ('query', 'key', 'value')
              for kind in ('weight', 'bias')),
            (f'attn.{TABLE}', f'attention.attention.relative_position_bias.{TABLE}'),
        ],
    ),
    (f'backbone.{SHARED_TABLE}', f'beit.encoder.relative_position_bias.{TABLE}'),
    ('backbone.patch_embed.proj.', 'beit.embeddings.patch_embeddings.projection.'),
    ('backbone.pos_embed', 'beit.embeddings.position_embeddings'),
    ('backbone.cls_token', 'beit.embeddings.cls_token'),
    ('backbone.mask_token', 'beit.embeddings.mask_token'),
    ('backbone.fc_norm.', 'beit.pooler.layernorm.'),
    ('backbone.norm.', 'layernorm.'),  # masked image modeling
    ('backbone.norm.', 'beit.layernorm.'),
    ('head.lm_head.', 'lm_head.'),
    ('head.fc.', 'classifier.'),
    ('neck.upsample_4x.', 'fpn1.'),
    ('neck.upsample_2x.', 'fpn2.'),
    *((f'{head}.{ours}', f'{head}.{theirs}') for head in ('decode_head', 'auxiliary_head')
      for ours, theirs in (('conv_seg.', 'classifier.'), ('', ''))),
]  # fmt: skip


def recognize(state: StateDict) -> Format | None:
    """The format that the names of weights belong to; None if they are not those of a BEiT. timm uses the names of the
    release.

    Other ViTs of the same libraries have similar names, but their attention keys have a bias, which those of a BEiT do
    not have.
    """
    if any(key.endswith('patch_embeddings.projection.weight') for key in state):
        return None if any(key.endswith('attention.key.bias') for key in state) else 'hf'
    if any(key.endswith('patch_embed.projection.weight') for key in state):
        return 'mmpretrain' if any(re.search(r'layers\.\d+\.attn\.q_bias$', key) for key in state) else None
    if 'patch_embed.proj.weight' in state and 'blocks.0.attn.qkv.weight' in state:
        return None if 'blocks.0.attn.qkv.bias' in state else 'official'
    if 'backbone.patch_embed.proj.weight' in state:
        return 'official' if 'backbone.fpn1.0.weight' in state else 'mmbeitv2'
    if is_tokenizer(state):
        return 'mmbeitv2'  # and the release
    return None


def is_tokenizer(state: StateDict) -> bool:
    """Whether names of weights are those of a tokenizer with an encoder, such as VQ-KD, in any format."""
    return any(key.startswith('encoder.patch_embed.') for key in state)


def to_ours(state: StateDict, source: Format) -> StateDict:
    """Weights under this package's names; weights without a counterpart are left out."""
    state = {key: value for key, value in state.items() if not key.endswith('relative_position_index')}
    if source == 'mmbeitv2':
        return state
    if source == 'hf':  # Data2VecVision is a BEiT that was pretrained otherwise
        state = {re.sub(r'^data2vec_vision\.', 'beit.', key): value for key, value in state.items()}
    if source == 'hf' and not any(key.startswith('beit.') for key in state):  # a bare BeitModel
        state = {f'beit.{key}': value for key, value in state.items()}
    pairs = [(theirs, ours) for ours, theirs in _table(source, state)]
    state, _ = _renamed(state, pairs)
    return _without_identity_block(_join_qkv(state)) if source == 'hf' else state


def from_ours(state: StateDict, target: Format) -> tuple[StateDict, list[str]]:
    """Weights under the names of another format, and this package's names of the weights that it cannot hold.

    Raises:
        InputError: if the format cannot hold such a model.
    """
    is_pretraining = 'head.lm_head.weight' in state
    if is_tokenizer(state):
        if target in ('timm', 'hf'):
            raise InputError(
                f'the format {target} cannot hold a VQ-KD tokenizer. Choose official, mmpretrain or mmbeitv2.'
            )
        if target == 'official':  # whose codebook stores statistics that it does not use
            weight = state.get('quantize.embedding.weight')
            unused = {} if weight is None else {'cluster_size': torch.zeros(len(weight)), 'embed_avg': weight.clone()}
            return state | {f'quantize.embedding.{name}': value for name, value in unused.items()}, []
    if any(key.startswith('decode_head.') for key in state) and target == 'timm':
        raise InputError('the format timm cannot hold a segmentation model. Choose official or mmbeitv2.')
    if target == 'mmbeitv2':
        return dict(state), []
    if target == 'mmpretrain' and 'neck.norm.weight' in state:
        raise InputError(
            'the format mmpretrain cannot hold a patch aggregation that has its own head. Choose official, or a '
            'model with a shared neck.'
        )
    if target == 'timm':
        state = _one_bias_per_layer(state)
    pairs = _table(target, state)
    if not is_pretraining and target in ('mmpretrain', 'hf'):  # the norm belongs to the encoder itself
        pairs = [pair for pair in pairs if pair[1] not in ('neck.norm.', 'layernorm.')]
    return _renamed(_split_qkv(state) if target == 'hf' else state, pairs)


def require_complete(state: StateDict, path: str) -> None:
    """Checks that weights, under this package's names, form a BEiT, as far as they tell themselves.

    Raises:
        InputError: naming the first weight that is missing, or does not have the shape that the others imply.
    """
    for prefix in ('encoder.', 'decoder.') if is_tokenizer(state) else ('backbone.',):
        name = f'{prefix}patch_embed.proj.weight'
        filters = state.get(name, torch.zeros(0))
        width = filters.shape[:1].numel()
        wanted = {name: (*filters.shape[:3], *filters.shape[2:3])}  # patches are square
        for i in range(len({key.split('.')[2] for key in state if key.startswith(f'{prefix}blocks.')})):
            block = f'{prefix}blocks.{i}.'
            wanted |= {f'{block}attn.qkv.weight': (3 * width, width), f'{block}attn.proj.weight': (width, width)}
            wanted |= {f'{block}{norm}.{part}': (width,) for norm in ('norm1', 'norm2') for part in ('weight', 'bias')}
        for key, shape in wanted.items():
            if key not in state:
                raise InputError(f'checkpoint {path!r} is incomplete: it lacks {key}. Use the complete file.')
            value = state[key]
            if value.shape != shape or not value.is_floating_point() or not value.numel():
                raise InputError(
                    f'checkpoint {path!r} is damaged: {key} has shape {tuple(value.shape)} and type {value.dtype}. '
                    'Use another copy of the file.'
                )


def _table(name: Format, state: StateDict) -> Pairs:
    if name == 'official':
        is_segmentation = any(key.startswith(('decode_head.', 'backbone.fpn1.')) for key in state)
        return _OFFICIAL_SEGMENTATION if is_segmentation else _OFFICIAL
    return {'timm': _TIMM, 'mmpretrain': _MMPRETRAIN, 'hf': _HF}[name]


def _renamed(state: StateDict, pairs: Pairs) -> tuple[StateDict, list[str]]:
    """Weights under new names, and the old names of those that no pair fits."""
    patterns = [(re.compile(re.escape(start).replace(r'\{i\}', r'(\d+)')), new) for start, new in pairs]
    renamed, left_out = {}, []
    for key, value in state.items():
        for pattern, new in patterns:
            if match := pattern.match(key):
                start = new.replace('{i}', match[1]) if match.groups() else new
                renamed[start + key[match.end() :]] = value
                break
        else:
            left_out.append(key)
    return renamed, left_out


def _blocks_of(state: StateDict, prefix: str, suffix: str) -> list[str]:
    """Names of the blocks of a module, by a weight that each of them has."""
    return [key.removesuffix(suffix) for key in state if key.startswith(prefix) and key.endswith(suffix)]


def _join_qkv(state: StateDict) -> StateDict:
    state = dict(state)
    for start in _blocks_of(state, 'backbone.', '.attn.q_weight'):
        keys = [f'{start}.attn.{part}_weight' for part in 'qkv']
        if len({state[key].shape if key in state else None for key in keys}) == 1:  # what is missing is told later
            state[f'{start}.attn.qkv.weight'] = torch.cat([state.pop(key) for key in keys])
    return state


def _split_qkv(state: StateDict) -> StateDict:
    state = dict(state)
    for start in _blocks_of(state, 'backbone.', '.attn.qkv.weight'):
        parts = state.pop(f'{start}.attn.qkv.weight').chunk(3)
        state |= {f'{start}.attn.{name}_weight': part.clone() for name, part in zip('qkv', parts, strict=True)}
    return state


def _one_bias_per_layer(state: StateDict) -> StateDict:
    """A shared relative position bias copied to each layer, as timm's models want it."""
    shared = f'backbone.{SHARED_TABLE}'
    if shared not in state:
        return state
    tables = {
        f'{start}.attn.{TABLE}': state[shared].clone() for start in _blocks_of(state, 'backbone.', '.attn.qkv.weight')
    }
    return {key: value for key, value in state.items() if key != shared} | tables


def with_identity_block(state: StateDict) -> StateDict:
    """The weights with one block more, which changes nothing because its last layers are zero.

    Hugging Face's ``BeitForSemanticSegmentation`` cannot read what comes out of its last block.
    """
    starts = _blocks_of(state, 'backbone.', '.norm1.weight')
    last = max(starts, key=lambda start: int(start.rpartition('.')[2]))
    new = f'backbone.blocks.{len(starts)}'
    block = {key.replace(last, new, 1): value.clone() for key, value in state.items() if key.startswith(f'{last}.')}
    for key in block:
        if key.startswith(_last_layers(new)):
            block[key].zero_()
    return state | block


def _without_identity_block(state: StateDict) -> StateDict:
    starts = _blocks_of(state, 'backbone.', '.norm1.weight')
    last = f'backbone.blocks.{len(starts) - 1}'
    layers = [value for key, value in state.items() if key.startswith(_last_layers(last))]
    if not layers or any(layer.any() for layer in layers):
        return state
    return {key: value for key, value in state.items() if not key.startswith(f'{last}.')}


def _last_layers(block: str) -> tuple[str, ...]:
    return f'{block}.attn.proj.', f'{block}.mlp.fc2.'
