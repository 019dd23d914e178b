"""Masked image modeling with visual tokens and patch aggregation (paper, section 2.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor

from mmbeitv2.errors import InputError
from mmbeitv2.interfaces import Head, Neck, PretrainingBackbone, Tokenizer
from mmbeitv2.layers.frozen import Frozen, Precision, init_quietly
from mmbeitv2.pretraining.preprocessor import MaskedBatch
from mmbeitv2.registry import MODELS


@MODELS.register_module()
class BEiTv2(BaseSelfSupervisor):
    """Pretrains a backbone to predict the codes that a frozen tokenizer assigns to the masked patches.

    Any parts that offer what :mod:`mmbeitv2.interfaces` says can be used.

    Args:
        backbone: config of a backbone, see :class:`mmbeitv2.interfaces.PretrainingBackbone`. A :class:`BEiTv2ViT` or
            :class:`TimmViT` needs ``out_type='raw'``, ``final_norm='norm'``, ``use_mask_token=True``, and as
            ``out_indices`` the layers l and L (with a neck) or L alone.
        tokenizer: config of the tokenizer, with ``init_cfg`` for its weights. It is really frozen, see :class:`Frozen`.
        head: config of the head; ``embed_dims`` and ``num_codes`` are taken from the backbone and the tokenizer.
        neck: config of the patch aggregation, or None; its blocks are made by the backbone.
        tokenizer_precision: precision of the tokenizer where the training runs under autocast, see :class:`Frozen`; its
            projection to code vectors and the search for the nearest code are always in float32. Bfloat16 changes
            several times as many codes as float16 (docs/benchmarks.md).
        data_preprocessor: config of the preprocessor; :class:`BEiTv2DataPreprocessor` if it has no ``type``.
        init_cfg: see mmengine.

    Raises:
        InputError: if the parts do not fit one another.
    """

    neck: Neck | None
    head: Head

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
        network = MODELS.build(backbone)
        built_neck = None if neck is None else MODELS.build({'backbone': network, **neck})
        frozen = MODELS.build(tokenizer)
        init_quietly(frozen)
        built_head = MODELS.build({'embed_dims': network.embed_dims, 'num_codes': frozen.num_codes, **head})
        super().__init__(
            backbone=network,
            neck=built_neck,
            head=built_head,
            data_preprocessor={'type': 'mmbeitv2.BEiTv2DataPreprocessor', **(data_preprocessor or {})},
            init_cfg=init_cfg,
        )
        self.tokenizer = Frozen(frozen, tokenizer_precision)
        self._check_parts(network, frozen)

    def _check_parts(self, backbone: PretrainingBackbone, tokenizer: Tokenizer) -> None:
        if self.head.embed_dims != backbone.embed_dims:
            raise InputError(
                f'model.head.embed_dims={self.head.embed_dims}, but the backbone has {backbone.embed_dims}. Leave it '
                'out of the config.'
            )
        if self.head.num_codes != tokenizer.num_codes:
            raise InputError(
                f'the head predicts {self.head.num_codes} codes, but the tokenizer has {tokenizer.num_codes}. Set '
                f'model.head.num_codes={tokenizer.num_codes}.'
            )
        if backbone.in_channels != tokenizer.in_channels:
            raise InputError(
                f'model.backbone.in_channels={backbone.in_channels}, but the tokenizer takes images of '
                f'{tokenizer.in_channels} channels. Set model.tokenizer.encoder.in_channels and '
                'model.backbone.in_channels to the same number.'
            )
        neck = 'model.neck is None' if self.neck is None else f'model.neck.shared_head={self.neck.shared_head}'
        if self.head.shared_head != (self.neck is None or self.neck.shared_head):
            raise InputError(
                f'{neck}, but model.head.shared_head={self.head.shared_head}. Set both to the same value, without a '
                'neck to True: the two branches share both the norm and the linear layer, or neither.'
            )

    def forward(
        self, inputs: MaskedBatch | Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | list[DataSample] | tuple[Tensor, ...]:
        """Runs the model.

        Args:
            inputs: a batch of the preprocessor, with masks for ``'loss'`` and ``'predict'``.
            data_samples: not used.
            mode: ``'tensor'`` returns the backbone's outputs for the whole images; ``'loss'`` the losses and
                accuracies; ``'predict'`` one data sample per image, see :meth:`predict`.
        """
        if mode == 'predict' and not isinstance(inputs, Tensor):
            return self.predict(inputs)
        return super().forward(inputs, data_samples, mode)

    def extract_feat(self, inputs: MaskedBatch | Tensor) -> tuple[Tensor, ...]:
        """The backbone's outputs for whole images (B, C, H, W), normalized; the last is all tokens (B, 1+N, C)."""
        return self.backbone(inputs if isinstance(inputs, Tensor) else inputs['images'])

    def loss(self, inputs: MaskedBatch, data_samples: list[DataSample] | None = None) -> dict[str, Tensor]:
        """Losses and accuracies of both branches on the masked patches."""
        return self._loss(inputs, self._tokenize(inputs))

    def predict(self, inputs: MaskedBatch) -> list[DataSample]:
        """One data sample per image, with the tokenizer's ``codes`` (N,), the ``mask`` (N,), and ``predicted_codes``
        (N,), which are predictions where the mask is true and the tokenizer's codes elsewhere, and ``num_codes``."""
        codes, index = self._tokenize(inputs), inputs['masked_index']
        (logits,) = self.head(self.backbone.forward_masked(inputs['images'], inputs['mask'], index).masked)
        predicted = codes.scatter(1, index, logits.argmax(dim=-1))
        return [
            DataSample(codes=code, predicted_codes=prediction, mask=mask, num_codes=self.head.num_codes)
            for code, prediction, mask in zip(codes, predicted, inputs['mask'], strict=True)
        ]

    def _tokenize(self, inputs: MaskedBatch) -> Tensor:
        """The tokenizer's codes of the uncorrupted images, (B, N), or what else it gives each patch, (B, N, D)."""
        codes = self.tokenizer.call('tokenize', inputs['views'])
        if codes.shape[:2] != inputs['mask'].shape:
            raise InputError(
                f'the tokenizer makes {codes.shape[1]} codes per image, but the mask has {inputs["mask"].shape[1]} '
                'patches. The view_size of the data preprocessor, the patch size of the tokenizer and the grid_size '
                'of the mask must agree.'
            )
        return codes

    def _loss(self, inputs: MaskedBatch, codes: Tensor) -> dict[str, Tensor]:
        index = inputs['masked_index']
        features = self.backbone.forward_masked(inputs['images'], inputs['mask'], index)
        masked, aggregated = features.masked.flatten(0, 1), None  # (B·M, C)
        if self.neck is not None:
            aggregated = self.neck(features, index)
            if self.neck.shared_head:
                aggregated = self.backbone.final_norm_of(aggregated)
            aggregated = aggregated.flatten(0, 1)
        images = torch.arange(len(codes), device=codes.device).unsqueeze(1)
        return self.head.loss(masked, aggregated, codes[images, index].flatten(0, 1))

    def cls_features(self, crops: Tensor) -> Tensor:
        """CLS tokens after the final norm, of unit length, (B, C), of whole crops (B, 3, H, W) uint8, as loaded."""
        images = self.data_preprocessor.normalize(self.data_preprocessor.to_unit(crops))
        return F.normalize(self.backbone(images)[-1][:, 0], dim=-1)
