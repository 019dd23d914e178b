"""An ``init_cfg`` that loads any BEiT v2 file into any model of this package."""

from __future__ import annotations

import logging
import math

from mmengine.logging import print_log
from mmengine.model import BaseModule
from timm.models import adapt_input_conv
from torch import Tensor, nn

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.checkpoints.formats import SHARED_TABLE, TABLE, StateDict, is_kmeans
from mmbeitv2.checkpoints.reading import Checkpoint, check_exact, check_fits, read_checkpoint
from mmbeitv2.errors import InputError
from mmbeitv2.layers.frozen import fingerprint
from mmbeitv2.layers.positions import NUM_CLS_DISTANCES, ResizeMethod, resize_pos_embed, resize_relative_position_table
from mmbeitv2.pretraining.beitv2 import BEiTv2
from mmbeitv2.registry import WEIGHT_INITIALIZERS
from mmbeitv2.tokenizers import VQKD, KMeansTokenizer

_PATCHES = 'patch_embed.proj.weight'
# Weights that keep their initial values where the file has none: what a later stage adds to the encoder.
_MAY_BE_NEW = ('norm', 'fc_norm', 'mask_module')
# Parts of a pretraining model beside the encoder: what they are, and how the names of their weights start.
_PARTS = {
    'neck': ('patch aggregation', ('neck.blocks.', 'neck.norm.')),
    'head': ('head', ('head.lm_head.', 'head.cls_pt_lm_head.')),
}


@WEIGHT_INITIALIZERS.register_module()
class PretrainedBEiTv2:
    """Initializes a backbone, a tokenizer or a whole pretraining model from a file, ours or released.

    It works for :class:`BEiTv2ViT`, :class:`VQKD`, :class:`KMeansTokenizer` and :class:`BEiTv2`. It recognizes the
    format of the file, leaves out what the model does not use, copies a shared relative position bias to each layer if
    the model has one per layer, and resizes absolute and relative positions to the model's patch grid. An RGB patch
    embedding initializes one with N channels by timm's rule: its three filters are repeated over the channels and
    scaled by 3/N, so that a gray image gives the same patch embeddings; for one channel they are summed. One line in
    the log says what it found and did.

    Of a whole pretraining model (``init_cfg`` of the model itself), the mask token, the patch aggregation and the head
    keep their initial weights if the file has none. The tokenizer has its own ``init_cfg``.

    Args:
        checkpoint: path of the file, or any other name that :func:`mmbeitv2.checkpoints.locating.locate` accepts.
        resize: how relative position tables are resized, see :func:`resize_relative_position_table`.
        fresh_head: for a whole pretraining model: do not load the head of the file. Set it to use another tokenizer
            than the one that the file was pretrained with.
    """

    def __init__(self, checkpoint: str, resize: ResizeMethod = 'geometric', fresh_head: bool = False) -> None:
        self.checkpoint = checkpoint
        self.resize = resize
        self.fresh_head = fresh_head

    def __call__(self, module: nn.Module) -> None:
        """Loads the weights.

        Raises:
            InputError: naming the key and both shapes if something does not fit.
        """
        state = self.state_for(module)
        # Before the load: mmengine initializes children after the init_cfg of their parent.
        for child in module.children():
            if isinstance(child, BaseModule) and not child.is_init:
                child.init_weights()
        module.load_state_dict(state, strict=False)

    def state_for(self, module: nn.Module, file: Checkpoint | None = None) -> StateDict:
        """The weights in the form that the module needs. Pass ``file`` if the checkpoint has been read already.

        Raises:
            InputError: naming the key and both shapes if something does not fit.
        """
        file = file or read_checkpoint(self.checkpoint)
        done: list[str] = []
        if isinstance(module, VQKD):
            if not file.is_tokenizer:
                raise InputError(
                    f'checkpoint {file.path!r} is {file.source}, not a VQ-KD tokenizer. Use the checkpoint of a '
                    'tokenizer.'
                )
            state = self._tokenizer_state(file.ours, module, done)
        elif isinstance(module, KMeansTokenizer):
            state = self._kmeans_state(file, module)
        elif isinstance(module, BEiTv2ViT):
            state = self._encoder_state(file.encoder, module, '', done)
        elif isinstance(module, BEiTv2):
            state = self._pretraining_state(file, module, done)
        else:
            raise InputError(
                'PretrainedBEiTv2 initializes a BEiTv2ViT, a BEiTv2, a VQKD or a KMeansTokenizer, not a '
                f'{type(module).__name__}. Put it in the init_cfg of the backbone.'
            )
        print_log(
            f'{self.checkpoint} is {file.source}: loaded {len(state)} weights' + ''.join(f'; {step}' for step in done),
            logger='current',
        )
        return state

    def _tokenizer_state(self, state: StateDict, model: VQKD, done: list[str]) -> StateDict:
        _check_num_codes(state, model, self.checkpoint)
        wanted = model.state_dict()
        state = {key: value for key, value in state.items() if key in wanted or key.endswith(('pos_embed', TABLE))}
        for part in ('encoder', 'decoder'):
            prefix = f'{part}.'
            inner = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
            state = {key: value for key, value in state.items() if not key.startswith(prefix)}
            state.update(
                {
                    prefix + key: value
                    for key, value in self._encoder_state(inner, getattr(model, part), prefix, done).items()
                }
            )
        missing = sorted(set(wanted) - set(state) - {'data_preprocessor.mean', 'data_preprocessor.std'})
        if missing:
            raise InputError(
                f'checkpoint {self.checkpoint!r} lacks {missing[0]} ({len(missing)} weights in all). Use the config '
                'that the checkpoint was trained with.'
            )
        check_fits(state, wanted, self.checkpoint)
        return state

    @staticmethod
    def _kmeans_state(file: Checkpoint, model: KMeansTokenizer) -> StateDict:
        if not is_kmeans(file.state):
            raise InputError(
                f'checkpoint {file.path!r} is {file.source}, not a k-means tokenizer. Use the checkpoint of a '
                'KMeansTokenizer.'
            )
        _check_num_codes(file.state, model, file.path)
        wanted = {key: value for key, value in model.state_dict().items() if not key.startswith('data_preprocessor.')}
        state = {key: value for key, value in file.state.items() if key in wanted}
        check_exact(state, wanted, file.path)
        return state

    def _pretraining_state(self, file: Checkpoint, model: BEiTv2, done: list[str]) -> StateDict:
        if file.is_tokenizer:
            raise InputError(
                f'checkpoint {file.path!r} is {file.source}, not a pretrained model. Put it in '
                'model.tokenizer.init_cfg.'
            )
        may_be_new = (*_MAY_BE_NEW, 'mask_token')
        encoder = self._encoder_state(file.encoder, model.backbone, 'backbone.', done, may_be_new)
        state = {f'backbone.{key}': value for key, value in encoder.items()}
        wanted = model.state_dict()
        for name, (part, prefixes) in _PARTS.items():
            own = {key: value for key, value in file.ours.items() if key.startswith(prefixes)}
            needed = {key: value for key, value in wanted.items() if key.startswith(f'{name}.')}
            if own and not needed:
                done.append(f'left out the {part}, which the model does not have')
            elif needed and (not own or (name == 'head' and self.fresh_head)):
                done.append(
                    f'the {part} starts from its initial weights, '
                    + ('because fresh_head is set' if own else 'because the file has none')
                )
            else:
                self._check_part(own, needed)
                state |= own
        if 'head.lm_head.weight' in state:
            self._compare_tokenizers(file, model)
        return state

    def _check_part(self, own: StateDict, needed: StateDict) -> None:
        """Refuses a patch aggregation or a head of another kind than the model's."""
        place = f'checkpoint {self.checkpoint!r}'
        num_codes = [len(part['head.lm_head.weight']) for part in (own, needed) if 'head.lm_head.weight' in part]
        if num_codes and num_codes[0] != num_codes[-1]:
            raise InputError(
                f'{place} predicts {num_codes[0]} codes, but the tokenizer has {num_codes[-1]}. Use the tokenizer '
                'that it was pretrained with, or set model.init_cfg.fresh_head=True to start with a new head.'
            )
        depths = [len({key.split('.')[2] for key in part if key.startswith('neck.blocks.')}) for part in (own, needed)]
        if depths[0] != depths[1]:
            raise InputError(
                f'{place} has {depths[0]} blocks of patch aggregation, but the model has {depths[1]}. Set '
                f'model.neck.depth={depths[0]}.'
            )
        is_shared = [not any(key.startswith(('neck.norm.', 'head.cls_pt')) for key in part) for part in (own, needed)]
        if is_shared[0] != is_shared[1]:
            raise InputError(
                f'{place} has {"one head" if is_shared[0] else "two heads"} for the two branches, unlike the model. '
                f'Set model.neck.is_shared={is_shared[0]} and model.head.is_shared={is_shared[0]}.'
            )
        check_fits(own, needed, self.checkpoint)
        check_exact(own, needed, self.checkpoint)

    def _compare_tokenizers(self, file: Checkpoint, model: BEiTv2) -> None:
        """Warns if the tokenizer is another one. It may be the same one with resized positions, so this is not an
        error."""
        if file.tokenizer not in (None, f'weights {fingerprint(model.tokenizer.module)}'):
            print_log(
                (
                    f'{self.checkpoint} was pretrained with a tokenizer that has other weights. Use that tokenizer, or '
                    'set model.init_cfg.fresh_head=True to start with a new head. (If only the image size of the '
                    'tokenizer differs, ignore this.)'
                ),
                logger='current',
                level=logging.WARNING,
            )

    def _encoder_state(
        self,
        state: StateDict,
        model: BEiTv2ViT,
        prefix: str,
        done: list[str],
        may_be_new: tuple[str, ...] = _MAY_BE_NEW,
    ) -> StateDict:
        self._check_depth(state, model)
        wanted = model.state_dict()
        state = dict(state)
        if SHARED_TABLE in state and model.rel_pos_bias_type == 'per_layer':
            table = state.pop(SHARED_TABLE)
            state.update({f'blocks.{i}.attn.{TABLE}': table.clone() for i in range(model.depth)})
            done.append(f'the shared relative position bias was copied to {model.depth} layers')
        for key in [key for key in state if key in wanted and state[key].shape != wanted[key].shape]:
            resized = self._resize_positions(key, state[key], model)
            if resized is not None:
                source, state[key] = resized
                h, w = model.grid_size
                step = f'positions were resized from {source[0]}x{source[1]} to {h}x{w} patches'
                if step not in done:
                    done.append(step)
        if self._adapt_channels(state, wanted):
            count = wanted[_PATCHES].shape[1]
            done.append(f'the RGB filters of {prefix}{_PATCHES} were repeated over {count} channels')
        unused = sorted(key for key in state if key not in wanted and not key.endswith('relative_position_index'))
        refused = [key for key in unused if key.partition('.')[0] not in ('norm', 'fc_norm', 'mask_token')]
        if refused:
            raise InputError(
                f'checkpoint {self.checkpoint!r} has {prefix}{refused[0]}, which the model does not have: '
                f'{self._remedy(refused[0])}'
            )
        missing = sorted(key for key in wanted if key not in state and key.partition('.')[0] not in may_be_new)
        if missing:
            raise InputError(
                f'checkpoint {self.checkpoint!r} lacks {prefix}{missing[0]}, which the model has: '
                f'{self._remedy(missing[0])}'
            )
        if unused:
            done.append(f'left out {", ".join(unused)}')
        new = [part for part in may_be_new if any(key.partition('.')[0] == part and key not in state for key in wanted)]
        if new:
            done.append(f'kept the initial values of {", ".join(new)}, which the file lacks')
        state = {key: value for key, value in state.items() if key in wanted}
        check_fits(state, wanted, self.checkpoint)
        return state

    @staticmethod
    def _adapt_channels(state: StateDict, wanted: StateDict) -> bool:
        """Brings the patch embedding of RGB to the model's channels; returns whether there was something to do."""
        source, channels = state.get(_PATCHES), wanted[_PATCHES].shape[1]
        if source is None or source.ndim != 4 or source.shape[1] != 3 or channels == 3:
            return False
        state[_PATCHES] = adapt_input_conv(channels, source)
        return True

    def _resize_positions(self, key: str, value: Tensor, model: BEiTv2ViT) -> tuple[tuple[int, int], Tensor] | None:
        """The source grid and the resized value of a position parameter; None for any other weight."""
        if key == 'pos_embed':
            source = self._square(key, value.shape[1] - 1)
            return source, resize_pos_embed(value, source, model.grid_size)
        if key.endswith(TABLE):
            side = self._square(key, value.shape[0] - NUM_CLS_DISTANCES)[0]
            source = ((side + 1) // 2, (side + 1) // 2)
            return source, resize_relative_position_table(value, source, model.grid_size, self.resize)
        return None

    def _square(self, key: str, count: int) -> tuple[int, int]:
        side = math.isqrt(max(count, 0))
        if side * side != count or side == 0:
            raise InputError(
                f'{key} of checkpoint {self.checkpoint!r} has {count} positions, which do not form a square grid, so '
                'they cannot be resized'
            )
        return side, side

    def _check_depth(self, state: StateDict, model: BEiTv2ViT) -> None:
        depth = len({key.split('.')[1] for key in state if key.startswith('blocks.')})
        if depth != model.depth:
            raise InputError(
                f'checkpoint {self.checkpoint!r} has {depth} blocks, but the model has {model.depth}. Set arch to '
                'that of the checkpoint.'
            )

    @staticmethod
    def _remedy(key: str) -> str:
        if 'gamma_' in key:
            return 'set layer_scale_init_value of the backbone as in pretraining (0 for none)'
        if TABLE in key:
            return "set rel_pos_bias of the backbone ('shared', 'per_layer' or 'none') as in the checkpoint"
        if 'pos_embed' in key:
            return 'set use_abs_pos_emb of the backbone as in the checkpoint'
        if 'mask_token' in key:
            return 'set use_mask_token=False'
        return 'set the backbone as in the run that made the checkpoint'


def _check_num_codes(state: StateDict, model: VQKD | KMeansTokenizer, path: str) -> None:
    codebook = state.get('quantize.embedding.weight')
    if codebook is not None and len(codebook) != model.num_codes:
        raise InputError(
            f'checkpoint {path!r} has {len(codebook)} codes, but the config has {model.num_codes}. Set '
            f'num_codes={len(codebook)} in the quantizer of the tokenizer.'
        )
