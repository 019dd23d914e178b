"""``init_cfg`` that loads any BEiT v2 file into any model of this package."""

from __future__ import annotations

import math

from mmengine.logging import print_log
from mmengine.model import BaseModule
from timm.models import adapt_input_conv
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.models.backbones.beitv2_vit import BEiTv2ViT
from mmbeitv2.models.positions import NUM_CLS_DISTANCES, ResizeMethod, resize_pos_embed, resize_relative_position_table
from mmbeitv2.models.tokenizers.kmeans import KMeansTokenizer
from mmbeitv2.models.tokenizers.vqkd import VQKD
from mmbeitv2.registry import WEIGHT_INITIALIZERS

from .formats import SHARED_TABLE, TABLE, StateDict, is_kmeans
from .reading import Checkpoint, check_exact, check_fits, read_checkpoint

_PATCHES = 'patch_embed.proj.weight'
# Weights that keep their initial values where the file has none: what a later stage adds to the encoder.
_MAY_BE_NEW = ('norm', 'fc_norm', 'mask_module')


@WEIGHT_INITIALIZERS.register_module()
class PretrainedBEiTv2:
    """Initialises a :class:`BEiTv2ViT`, a :class:`VQKD` or a :class:`KMeansTokenizer` from a file, ours or released.

    It recognises what the file is, leaves out what the model does not use, gives each layer its copy of a shared
    relative position bias where the model has one per layer, and resizes absolute and relative positions to the model's
    patch grid. A patch embedding of RGB starts one of N channels by timm's rule: its three filters are repeated over
    the channels and scaled by 3/N, so that a gray image gives the same patches; for one channel they are summed. One
    line in the log says what it found and did.

    Args:
        checkpoint: path of the file, or what else :func:`mmbeitv2.fileio.locating.locate` takes.
        resize: how relative position tables are resized, see :func:`resize_relative_position_table`.
    """

    def __init__(self, checkpoint: str, resize: ResizeMethod = 'geometric') -> None:
        self.checkpoint = checkpoint
        self.resize = resize

    def __call__(self, module: nn.Module) -> None:
        """Loads the weights.

        Raises:
            InputError: naming the key and both shapes if something does not fit.
        """
        state = self.state_for(module)
        # Before the load: mmengine initialises children after the init_cfg of their parent.
        for child in module.children():
            if isinstance(child, BaseModule) and not child.is_init:
                child.init_weights()
        module.load_state_dict(state, strict=False)

    def state_for(self, module: nn.Module, file: Checkpoint | None = None) -> StateDict:
        """The weights as the module wants them; ``file`` if the checkpoint is read already.

        Raises:
            InputError: naming the key and both shapes if something does not fit.
        """
        file = file or read_checkpoint(self.checkpoint)
        done: list[str] = []
        if isinstance(module, VQKD):
            if not file.is_tokenizer:
                raise InputError(
                    f'checkpoint {file.path!r} is {file.source}, not a VQ-KD tokenizer: give the file of a tokenizer'
                )
            state = self._tokenizer_state(file.ours, module, done)
        elif isinstance(module, KMeansTokenizer):
            state = self._kmeans_state(file, module)
        elif isinstance(module, BEiTv2ViT):
            state = self._encoder_state(file.encoder, module, '', done)
        else:
            raise InputError(
                'PretrainedBEiTv2 initialises a BEiTv2ViT, a VQKD or a KMeansTokenizer, not a '
                f'{type(module).__name__}: put it in the init_cfg of the backbone'
            )
        print_log(
            f'{self.checkpoint} is {file.source}: loaded {len(state)} weights' + ''.join(f'; {step}' for step in done),
            logger='current',
        )
        return state

    def _tokenizer_state(self, state: StateDict, model: VQKD, done: list[str]) -> StateDict:
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
                f'checkpoint {self.checkpoint!r} lacks {missing[0]} ({len(missing)} weights in all): use the config '
                'that the checkpoint was made with'
            )
        check_fits(state, wanted, self.checkpoint)
        return state

    @staticmethod
    def _kmeans_state(file: Checkpoint, model: KMeansTokenizer) -> StateDict:
        if not is_kmeans(file.state):
            raise InputError(
                f'checkpoint {file.path!r} is {file.source}, not a k-means tokenizer: give a checkpoint of a '
                'KMeansTokenizer'
            )
        num_codes = len(file.state['quantize.embedding.weight'])
        if num_codes != model.num_codes:
            raise InputError(
                f'checkpoint {file.path!r} has {num_codes} codes, the config {model.num_codes}: set '
                f'num_codes={num_codes} in the quantizer of the tokenizer'
            )
        wanted = {key: value for key, value in model.state_dict().items() if not key.startswith('data_preprocessor.')}
        state = {key: value for key, value in file.state.items() if key in wanted}
        check_exact(state, wanted, file.path)
        return state

    def _encoder_state(self, state: StateDict, model: BEiTv2ViT, prefix: str, done: list[str]) -> StateDict:
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
                f'checkpoint {self.checkpoint!r} has {prefix}{refused[0]}, for which the model has no place: '
                f'{self._remedy(refused[0])}'
            )
        missing = sorted(key for key in wanted if key not in state and key.partition('.')[0] not in _MAY_BE_NEW)
        if missing:
            raise InputError(
                f'checkpoint {self.checkpoint!r} lacks {prefix}{missing[0]}, which the model has: '
                f'{self._remedy(missing[0])}'
            )
        if unused:
            done.append(f'left out {", ".join(unused)}')
        new = [part for part in _MAY_BE_NEW if any(key.startswith(f'{part}.') and key not in state for key in wanted)]
        if new:
            done.append(f'kept the initial values of {", ".join(new)}, as the file has none')
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
                f'{key} of checkpoint {self.checkpoint!r} has {count} positions, which form no square grid, so '
                'it cannot be resized'
            )
        return side, side

    def _check_depth(self, state: StateDict, model: BEiTv2ViT) -> None:
        depth = len({key.split('.')[1] for key in state if key.startswith('blocks.')})
        if depth != model.depth:
            raise InputError(
                f'checkpoint {self.checkpoint!r} has {depth} blocks, the model has {model.depth}: set arch to that '
                'of the checkpoint'
            )

    @staticmethod
    def _remedy(key: str) -> str:
        if 'gamma_' in key:
            return 'set layer_scale_init_value of the backbone as in pretraining (0 for none)'
        if TABLE in key:
            return "set rel_pos_bias of the backbone ('shared', 'per_layer' or 'none') as the checkpoint has it"
        if 'pos_embed' in key:
            return 'set use_abs_pos_emb of the backbone as the checkpoint has it'
        if 'mask_token' in key:
            return 'set use_mask_token=False'
        return 'set the backbone as in the run that made the checkpoint'
