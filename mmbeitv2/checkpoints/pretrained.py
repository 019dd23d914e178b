"""An ``init_cfg`` that loads any BEiT v2 file into any model of this package."""

from __future__ import annotations

import copy
import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule, update_init_info
from mmpretrain.models.peft import LoRAModel
from timm.models import adapt_input_conv
from torch import nn

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.checkpoints.formats import SHARED_TABLE, TABLE, StateDict, is_tokenizer
from mmbeitv2.checkpoints.grids import Grid, source_grid
from mmbeitv2.checkpoints.reading import ENCODER_PARTS, Checkpoint, check_fits, read_checkpoint, require_sound
from mmbeitv2.errors import InputError, require_known
from mmbeitv2.layers.frozen import fingerprint
from mmbeitv2.layers.positions import ResizeMethod, resize_pos_embed, resize_relative_position_table
from mmbeitv2.registry import WEIGHT_INITIALIZERS

_PATCHES = 'patch_embed.proj.weight'
# Weights that keep their initial values where the file has none: what a later stage adds to the encoder.
_MAY_BE_NEW = ('norm', 'fc_norm')
# The same of timm's model in a TimmViT.
_MAY_DIFFER = ('vit.norm.', 'vit.fc_norm.', 'vit.attn_pool.')
# Parts of a pretraining model beside the encoder: what they are, and how the names of their weights start.
_PARTS = {
    'neck': ('patch aggregation', ('neck.blocks.', 'neck.norm.')),
    'head': ('head', ('head.lm_head.', 'head.cls_pt_lm_head.')),
}
# What files of tokenizers hold beside the weights that tokenize.
_UNUSED_OF_TOKENIZERS = ('teacher', 'scaling_layer.', 'data_preprocessor.', 'quantize.embedding.cluster_size',
                         'quantize.embedding.embed_avg', 'quantize.steps_unused', 'quantize.idle_steps')  # fmt: skip


@WEIGHT_INITIALIZERS.register_module()
class PretrainedBEiTv2:
    """Initializes a backbone, a tokenizer or a whole pretraining model from a file, ours or released.

    It works for :class:`BEiTv2ViT`; for :class:`TimmViT` and other backbones, from a checkpoint that has the same
    backbone; for a model with such a ``backbone``; and for a tokenizer, of which the weights beside its
    :class:`BEiTv2ViT` must be in the file under the same names. It recognizes the format of the file, leaves out what
    the model does not use, copies a shared relative position bias to each layer if the model has one per layer, and
    resizes absolute and relative positions to the model's patch grid. An RGB patch embedding initializes one with N
    channels by timm's rule: its three filters are repeated over the channels and scaled by 3/N, so that a gray image
    gives the same patch embeddings; for one channel they are summed. What a subclass of the backbone adds keeps its
    initial values if the file has none. One line in the log says what it found and did.

    Of a whole pretraining model (``init_cfg`` of the model itself), the mask token, the patch aggregation and the head
    keep their initial weights if the file has none. The tokenizer has its own ``init_cfg``, and so has a backbone in a
    ``LoRAModel``, which loads it whenever the model is built.

    Args:
        checkpoint: path of the file, or any other name that :func:`mmbeitv2.checkpoints.locating.locate` accepts.
        resize: how relative position tables are resized, see :func:`resize_relative_position_table`.
        reinit_head: for a whole pretraining model: do not load the head of the file. Set it to use another tokenizer
            than the one that the file was pretrained with.
        use_ema: load the averaged weights of a file that has them beside the last ones (``model_ema``).
        source_grid: patch grid (h, w) of the model in the file. None: as the file says, or the only one that fits, see
            :func:`mmbeitv2.checkpoints.grids.source_grid`.
    """

    def __init__(
        self,
        checkpoint: str,
        resize: ResizeMethod = 'geometric',
        reinit_head: bool = False,
        use_ema: bool = False,
        source_grid: Grid | None = None,
    ) -> None:
        require_known(('resize', resize, ResizeMethod))
        self.checkpoint = checkpoint
        self.resize = resize
        self.reinit_head = reinit_head
        self.use_ema = use_ema
        self.source_grid = None if source_grid is None else (source_grid[0], source_grid[1])

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
        if hasattr(module, '_params_init_info'):  # for mmengine's log of initial weights
            update_init_info(module, init_info=f'PretrainedBEiTv2: load from {self.checkpoint}')

    def state_for(self, module: nn.Module, file: Checkpoint | None = None) -> StateDict:
        """The weights in the form that the module needs. Pass ``file`` if the checkpoint has been read already.

        Raises:
            InputError: naming the key and both shapes if something does not fit.
        """
        file = file or read_checkpoint(self.checkpoint, self.use_ema)
        done: list[str] = []
        backbone = getattr(module, 'backbone', None)
        if not any('.lora_' in key for key in module.state_dict()):
            file.require_merged()
        if isinstance(module, BEiTv2ViT):
            state = self._encoder_state(file, file.encoder, module, '', done)
        elif hasattr(module, 'tokenize'):
            state = self._tokenizer_state(file, module, done)
        elif backbone is not None:
            state = self._pretraining_state(file, module, done)
        else:
            state = self._other_backbone_state(file, module, done)
        print_log(
            '; '.join((f'{self.checkpoint} is {file.source}: loaded {len(state)} weights', *done)), logger='current'
        )
        return state

    def _other_backbone_state(self, file: Checkpoint, module: Any, done: list[str]) -> StateDict:
        """Of a :class:`mmbeitv2.TimmViT` or a backbone of another project, from a checkpoint with the same."""
        prefix = 'backbone.' if any(key.startswith('backbone.') for key in file.state) else ''
        state = {key.removeprefix(prefix): value for key, value in file.state.items() if key.startswith(prefix)}
        wanted = module.state_dict()
        is_timm = hasattr(module, 'vit') and hasattr(module, 'resize_positions')
        different = sorted(state.keys() ^ wanted.keys())
        if is_timm:
            different = [key for key in different if key.startswith('vit.') and not key.startswith(_MAY_DIFFER)]
        if different or not state:
            key = different[0] if different else 'backbone'
            raise InputError(
                'PretrainedBEiTv2 initializes a BEiTv2ViT, a tokenizer, and other backbones from a checkpoint with the '
                f'same backbone. Checkpoint {file.path!r} does not fit the {type(module).__name__}: {key} is only in '
                f'the {"file" if key in state else "model"}. Use it for the backbone that it was made with.'
            )
        require_sound(state, state, file.path)
        source = self.source_grid or file.grid_of(prefix[:-1])
        state = {key: value for key, value in state.items() if key in wanted}
        if is_timm and source not in (None, module.grid_size):
            resized = copy.deepcopy(module)
            resized.resize_positions(source)
            check_fits(state, resized.state_dict(), file.path)
            resized.load_state_dict(state, strict=False)
            resized.resize_positions(module.grid_size)
            state = {key: value for key, value in resized.state_dict().items() if key in state}
            done.append(f'positions were resized from {source} to {module.grid_size} patches')
        check_fits(state, wanted, file.path)
        return state

    def _tokenizer_state(self, file: Checkpoint, model: Any, done: list[str]) -> StateDict:
        wanted = {key: value for key, value in model.state_dict().items() if not key.startswith('data_preprocessor.')}
        state = file.ours if file.format == 'mmpretrain' else file.state
        for name, _ in model.named_children():  # the weights of the only child, as DALL-E's encoder is published
            if {f'{name}.{key}' for key in state} == wanted.keys():
                state = {f'{name}.{key}': value for key, value in state.items()}
        used = {
            key: value
            for key, value in state.items()
            if key in wanted or not (key.startswith(_UNUSED_OF_TOKENIZERS) or key.endswith('position_index'))
        }
        require_sound(used, used, file.path)
        for name, child in model.named_children():
            own = {key[len(name) + 1 :]: value for key, value in used.items() if key.startswith(f'{name}.')}
            if own and isinstance(child, BEiTv2ViT):
                used = {key: value for key, value in used.items() if not key.startswith(f'{name}.')}
                adapted = self._encoder_state(file, own, child, f'{name}.', done)
                used |= {f'{name}.{key}': value for key, value in adapted.items()}
        for key in sorted(wanted.keys() ^ used.keys()):
            raise InputError(
                f'checkpoint {file.path!r} is {file.source}, which does not fit the {type(model).__name__}: '
                f'{key} is only in the {"model" if key in wanted else "file"}. Use the checkpoint of such a tokenizer, '
                'and the config that it was trained with.'
            )
        check_fits(used, wanted, file.path)
        return used

    def _pretraining_state(self, file: Checkpoint, model: Any, done: list[str]) -> StateDict:
        if is_tokenizer(file.state):
            raise InputError(
                f'checkpoint {file.path!r} is {file.source}, not a pretrained model. Put it in '
                'model.tokenizer.init_cfg.'
            )
        encoder = {}
        if isinstance(model.backbone, LoRAModel):
            done.append('left out the encoder, which has an init_cfg of its own')
        elif not isinstance(model.backbone, BEiTv2ViT):
            encoder = self._other_backbone_state(file, model.backbone, done)
        else:
            may_be_new = (*_MAY_BE_NEW, 'mask_token')
            encoder = self._encoder_state(file, file.encoder, model.backbone, 'backbone.', done, may_be_new)
        state = {f'backbone.{key}': value for key, value in encoder.items()}
        wanted, is_beit = model.state_dict(), isinstance(model.backbone, BEiTv2ViT | LoRAModel)
        saved = file.ours if is_beit else file.state
        for name, (part, prefixes) in _PARTS.items():
            own = {key: value for key, value in saved.items() if key.startswith(prefixes if is_beit else f'{name}.')}
            needed = {key: value for key, value in wanted.items() if key.startswith(f'{name}.')}
            if own and not needed:
                done.append(f'left out the {part}, which the model does not have')
            elif needed and (not own or (name == 'head' and self.reinit_head)):
                reason = 'reinit_head is set' if own else 'the file has none'
                done.append(f'the {part} starts from its initial weights, because {reason}')
            else:
                self._check_part(own, needed)
                state |= own
        has_former = 'head.lm_head.weight' in state and file.tokenizer is not None
        if has_former and file.tokenizer != f'weights {fingerprint(model.tokenizer.module)}':
            # It may be the same one with resized positions, so this is not an error.
            warning = (
                f'{self.checkpoint} was pretrained with a tokenizer that has other weights. Use that tokenizer, or set '
                'model.init_cfg.reinit_head=True to start with a new head. (If only the image size of the tokenizer '
                'differs, ignore this.)'
            )
            print_log(warning, logger='current', level=logging.WARNING)
        return state

    def _check_part(self, own: StateDict, needed: StateDict) -> None:
        """Refuses a patch aggregation or a head of another kind than the model's."""
        place = f'checkpoint {self.checkpoint!r}'
        num_codes = [len(part['head.lm_head.weight']) for part in (own, needed) if 'head.lm_head.weight' in part]
        if num_codes and num_codes[0] != num_codes[-1]:
            raise InputError(
                f'{place} predicts {num_codes[0]} codes, but the tokenizer has {num_codes[-1]}. Use the tokenizer '
                'that it was pretrained with, or set model.init_cfg.reinit_head=True to start with a new head.'
            )
        for key in sorted(own.keys() ^ needed.keys()):
            raise InputError(
                f'{place} does not fit: {key} is only in the {"file" if key in own else "model"}. Set depth and '
                'shared_head of model.neck, and shared_head of model.head, as in the run that made the checkpoint.'
            )
        check_fits(own, needed, self.checkpoint)
        require_sound(own, own, self.checkpoint)

    def _encoder_state(
        self,
        file: Checkpoint,
        state: StateDict,
        model: BEiTv2ViT,
        prefix: str,
        done: list[str],
        may_be_new: tuple[str, ...] = _MAY_BE_NEW,
    ) -> StateDict:
        # Copies that the backbone makes of its own weights after this.
        copies = tuple(part for part in getattr(model, 'copies', ()) if not any(key.startswith(part) for key in state))
        wanted = {key: value for key, value in model.state_dict().items() if not key.startswith(copies)}
        parameters = {name for name, _ in model.named_parameters()}  # a buffer may hold -inf, as a mask does
        require_sound(state, [key for key in state if key in parameters or key.endswith(TABLE)], self.checkpoint)
        state = dict(state)
        per_layer = [key for key in wanted if key.endswith(f'attn.{TABLE}')]
        if SHARED_TABLE in state and per_layer:
            table = state.pop(SHARED_TABLE)
            state.update({key: table.clone() for key in per_layer})
            done.append(f'the shared relative position bias was copied to {len(per_layer)} layers')
        self._resize_positions(file, state, wanted, model.grid_size, prefix, done)
        filters, channels = state.get(_PATCHES), wanted[_PATCHES].shape[1]
        if filters is not None and filters.ndim == 4 and filters.shape[1] == 3 != channels:
            state[_PATCHES] = adapt_input_conv(channels, filters)
            done.append(f'the RGB filters of {prefix}{_PATCHES} were repeated over {channels} channels')
        unused = sorted(key for key in state if key not in wanted and not key.endswith('relative_position_index'))
        absent = sorted(key for key in wanted if key not in state)
        is_backbone = prefix in ('', 'backbone.')

        def is_required(key: str, optional: tuple[str, ...]) -> bool:
            part = key.partition('.')[0]  # of a backbone, other parts are those that a subclass added
            return part not in optional and not (is_backbone and part not in ENCODER_PARTS)

        refused = [key for key in unused if is_required(key, ('norm', 'fc_norm', 'mask_token'))]
        missing = [key for key in absent if is_required(key, may_be_new)]
        for key in (*refused, *missing):
            verbs = ('has', 'does not have') if refused else ('lacks', 'has')
            raise InputError(
                f'checkpoint {self.checkpoint!r} {verbs[0]} {prefix}{key}, which the model {verbs[1]}. Set '
                'arch, layer_scale_init_value (0 for none), rel_pos_bias, use_abs_pos_emb and use_mask_token of the '
                'backbone as in the run that made the checkpoint.'
            )
        if unused:
            done.append(f'left out {", ".join(unused)}')
        if absent:
            new = dict.fromkeys(key.partition('.')[0] for key in absent)
            done.append(f'kept the initial values of {", ".join(new)}, which the file lacks')
        state = {key: value for key, value in state.items() if key in wanted}
        check_fits(state, wanted, self.checkpoint)
        return state

    def _resize_positions(
        self, file: Checkpoint, state: StateDict, wanted: StateDict, target: Grid, prefix: str, done: list[str]
    ) -> None:
        """Brings position parameters to the grid of the model."""
        positions = {
            key: value
            for key, value in state.items()
            if key in wanted and value.ndim == wanted[key].ndim and (key == 'pos_embed' or key.endswith(TABLE))
        }
        told = self.source_grid or file.grid_of(prefix)
        source = source_grid(positions, target, told, self.checkpoint)
        if source is None or source == target:
            return
        for key, value in positions.items():
            state[key] = (
                resize_pos_embed(value, source, target)
                if key == 'pos_embed'
                else resize_relative_position_table(value, source, target, self.resize)
            )
        step = f'positions were resized from {source[0]}x{source[1]} to {target[0]}x{target[1]} patches'
        if step not in done:
            done.append(step)
