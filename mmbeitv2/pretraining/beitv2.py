"""Masked image modeling with visual tokens and patch aggregation (paper, section 2.3)."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.errors import InputError
from mmbeitv2.layers.frozen import Frozen, Precision
from mmbeitv2.pretraining.preprocessor import MaskedBatch
from mmbeitv2.registry import MODELS


@MODELS.register_module()
class BEiTv2(BaseModel):
    """Pretrains a backbone to predict the codes that a frozen tokenizer assigns to the masked patches.

    Args:
        backbone: config of a backbone with ``out_type='raw'``, ``final_norm='norm'`` and ``use_mask_token=True``, whose
            ``out_indices`` are the layers l and L (with a neck) or L alone.
        tokenizer: config of the tokenizer, with ``init_cfg`` for its weights. It is really frozen, see :class:`Frozen`.
        head: config of the head; ``embed_dims`` and ``num_codes`` are taken from the backbone and the tokenizer.
        neck: config of the patch aggregation, or None; the settings that it shares with the backbone are taken from the
            backbone.
        tokenizer_precision: precision of the tokenizer on a GPU, see :class:`Frozen`; its projection to code vectors
            and the search for the nearest code are always in float32. Bfloat16 changes several times as many codes as
            float16 (docs/benchmarks.md).
        data_preprocessor: config of the preprocessor.
        init_cfg: see mmengine.
    """

    def __init__(
        self,
        backbone: dict,
        tokenizer: dict,
        head: dict,
        neck: dict | None = None,
        tokenizer_precision: Precision = 'float16',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            data_preprocessor=data_preprocessor or dict(type='mmbeitv2.BEiTv2DataPreprocessor'), init_cfg=init_cfg
        )
        _refuse_former_settings(backbone)
        self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(_with_settings_of_backbone(neck, self.backbone))
        frozen = MODELS.build(tokenizer)
        # mmengine would list how each of its weights was initialized: on the screen, where there is no log file.
        frozen._dump_init_info = lambda: None
        frozen.init_weights()
        self.tokenizer = Frozen(frozen, tokenizer_precision)
        self.head = MODELS.build({'embed_dims': self.backbone.embed_dims, 'num_codes': frozen.num_codes, **head})
        self._check_parts(frozen.num_codes)

    def _check_parts(self, num_codes: int) -> None:
        backbone = self.backbone
        if backbone.out_type != 'raw' or backbone.final_norm != 'norm' or backbone.mask_token is None:
            raise InputError(
                "pretraining needs a backbone with out_type='raw', final_norm='norm' and use_mask_token=True"
            )
        wanted = 1 if self.neck is None else 2
        if len(backbone.out_indices) != wanted or backbone.out_indices[-1] != backbone.depth - 1:
            raise InputError(
                f'out_indices={backbone.out_indices} must name {wanted} block(s), and the last one must be the last '
                'block of the backbone'
            )
        if self.head.embed_dims != backbone.embed_dims:
            raise InputError(
                f'model.head.embed_dims={self.head.embed_dims}, but the backbone has {backbone.embed_dims}. Leave it '
                'out of the config.'
            )
        if self.head.num_codes != num_codes:
            raise InputError(
                f'the head predicts {self.head.num_codes} codes, but the tokenizer has {num_codes}. Set '
                f'model.head.num_codes={num_codes}.'
            )
        channels = backbone.patch_embed.proj.in_channels
        expected = getattr(self.tokenizer.module, 'in_channels', channels)  # a k-means tokenizer takes any
        if channels != expected:
            raise InputError(
                f'model.backbone.in_channels={channels}, but the tokenizer takes images of {expected} channels. Set '
                'model.tokenizer.encoder.in_channels and model.backbone.in_channels to the same number.'
            )
        if self.neck is None and not self.head.is_shared:
            raise InputError(
                'model.head.is_shared=False makes a second linear layer for the patch aggregation, but model.neck '
                'is None. Set model.head.is_shared=True.'
            )
        if self.neck is not None and self.neck.is_shared != self.head.is_shared:
            raise InputError(
                f'model.neck.is_shared={self.neck.is_shared}, but model.head.is_shared={self.head.is_shared}. Set '
                'both to the same value: the two branches share both the norm and the linear layer, or neither.'
            )

    def forward(
        self, inputs: MaskedBatch, data_samples: list[DataSample] | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | list[DataSample] | tuple[Tensor, ...]:
        """Runs the model.

        Args:
            inputs: a batch of the preprocessor.
            data_samples: not used.
            mode: ``'tensor'`` returns the backbone's outputs for the whole images; ``'loss'`` the losses and
                accuracies; ``'predict'`` one data sample per image with ``codes`` (N,), ``predicted_codes`` (N,) and
                ``mask`` (N,).
        """
        if mode == 'tensor':
            return self.backbone(inputs['images'])
        codes = self.tokenizer.call('tokenize', inputs['views'])  # (B, N)
        if codes.shape != inputs['mask'].shape:
            raise InputError(
                f'the tokenizer makes {codes.shape[1]} codes per image, but the mask has {inputs["mask"].shape[1]} '
                'patches. The view_size of the data preprocessor, the patch size of the tokenizer and the grid_size '
                'of the mask must agree.'
            )
        if mode == 'loss':
            return self._loss(inputs, codes)
        if mode == 'predict':
            (logits,) = self.head(self.backbone(inputs['images'], inputs['mask'])[-1][:, 1:])
            return [
                DataSample(codes=code, predicted_codes=predicted, mask=mask)
                for code, predicted, mask in zip(codes, logits.argmax(dim=-1), inputs['mask'], strict=True)
            ]
        raise InputError(f'mode={mode!r} is unknown. Choose tensor, loss or predict.')

    def _loss(self, inputs: MaskedBatch, codes: Tensor) -> dict[str, Tensor]:
        """Losses and accuracies of both branches on the masked patches."""
        index = inputs['masked_index']
        features = self.backbone.forward_masked(inputs['images'], inputs['mask'], index)
        masked, aggregated = features.masked.flatten(0, 1), None  # (B·M, C)
        if self.neck is not None:
            aggregated = self.neck(features.cls_token, features.early, features.rel_pos_bias, index)
            if self.neck.is_shared:
                aggregated = self.backbone.norm(aggregated)
            aggregated = aggregated.flatten(0, 1)
        return self.head.loss(masked, aggregated, codes.gather(1, index).flatten())

    def cls_features(self, crops: Tensor) -> Tensor:
        """CLS tokens after the final norm, of unit length, (B, C), of whole crops (B, 3, H, W) uint8, as loaded."""
        return self._tokens(crops)[:, 0]

    def patch_features(self, crops: Tensor) -> Tensor:
        """Patches after the final norm, of unit length, (B, N, C), of whole crops (B, 3, H, W) uint8, as loaded."""
        return self._tokens(crops)[:, 1:]

    def _tokens(self, crops: Tensor) -> Tensor:
        images = self.data_preprocessor.normalize(self.data_preprocessor.to_unit(crops))
        return F.normalize(self.backbone(images)[-1], dim=-1)


def _with_settings_of_backbone(neck: dict, backbone: BEiTv2ViT) -> dict:
    """The neck's config with what it has in common with the backbone; drop path and layer scale may differ."""
    sizes = {
        'embed_dims': backbone.embed_dims,
        'num_heads': backbone.num_heads,
        'start_layer': backbone.out_indices[0] + 1,
        'backbone_depth': backbone.depth,
    }
    for key, value in sizes.items():
        if neck.get(key, value) != value:
            raise InputError(
                f'model.neck.{key}={neck[key]}, but the backbone has {value}. Leave it out of the config'
                + (', and set model.backbone.out_indices.' if key == 'start_layer' else '.')
            )
    blocks = {key: getattr(backbone, key) for key in ('mlp_ratio', 'layer_scale_init_value', 'drop_path_rate')}
    return {**sizes, **blocks, **neck}


def _refuse_former_settings(backbone: dict) -> None:
    if backbone.get('final_norm') == 'deferred' or 'init_cutoff' in backbone:
        raise InputError(
            "the config was written for an earlier version. In model.backbone, write final_norm='norm' instead of "
            "'deferred' and init_rule='pretraining' instead of init_cutoff. Leave init_cutoff out of model.neck and "
            'model.head.'
        )
