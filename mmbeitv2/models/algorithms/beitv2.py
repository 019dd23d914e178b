"""Masked image modelling with visual tokens and patch aggregation (paper, section 2.3)."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor

from mmbeitv2.errors import InputError
from mmbeitv2.models.frozen import Frozen
from mmbeitv2.models.preprocessor import MaskedBatch
from mmbeitv2.registry import MODELS


@MODELS.register_module()
class BEiTv2(BaseModel):
    """Pretrains a backbone to predict a frozen tokenizer's codes of the patches that it cannot see.

    Args:
        backbone: config of a backbone with ``out_type='raw'`` and ``final_norm='deferred'``, whose outputs are the
            layers l and L (with a neck) or L alone.
        tokenizer: config of the tokenizer, with ``init_cfg`` for its weights. It is frozen for real: see
            :class:`Frozen`.
        head: config of the head.
        neck: config of the patch aggregation; None for none.
        data_preprocessor: config of the preprocessor.
        init_cfg: see mmengine.
    """

    def __init__(
        self,
        backbone: dict,
        tokenizer: dict,
        head: dict,
        neck: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            data_preprocessor=data_preprocessor or dict(type='mmbeitv2.BEiTv2DataPreprocessor'), init_cfg=init_cfg
        )
        self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(neck)
        self.head = MODELS.build(head)
        frozen = MODELS.build(tokenizer)
        frozen.init_weights()
        self.tokenizer = Frozen(frozen)
        self._check_parts(frozen.num_codes)

    def _check_parts(self, num_codes: int) -> None:
        if self.backbone.out_type != 'raw' or self.backbone.final_norm != 'deferred':
            raise InputError("pretraining needs a backbone with out_type='raw' and final_norm='deferred'")
        wanted = 1 if self.neck is None else 2
        if len(self.backbone.out_indices) != wanted or self.backbone.out_indices[-1] != self.backbone.depth - 1:
            raise InputError(
                f'out_indices={self.backbone.out_indices} must be {wanted} block(s), of which the last is the last '
                'of the backbone'
            )
        if self.neck is not None and self.neck.start_layer != self.backbone.out_indices[0] + 1:
            raise InputError(
                f'the neck starts from layer {self.neck.start_layer}, but the backbone gives out layer '
                f'{self.backbone.out_indices[0] + 1}'
            )
        if self.head.num_codes != num_codes:
            raise InputError(
                f'the head predicts {self.head.num_codes} codes, but the tokenizer has {num_codes}: set '
                f'model.head.num_codes={num_codes}'
            )

    def forward(
        self, inputs: MaskedBatch, data_samples: list[DataSample] | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | list[DataSample] | tuple[Tensor, ...]:
        """Runs the model.

        Args:
            inputs: a batch of the preprocessor.
            data_samples: not used.
            mode: ``'tensor'`` gives the backbone's outputs for the whole images; ``'loss'`` the losses and accuracies;
                ``'predict'`` one data sample per image with ``codes`` (N,), ``predicted_codes`` (N,) and
                ``mask`` (N,).
        """
        if mode == 'tensor':
            return self.backbone(inputs['images'])
        codes = self.tokenizer.call('tokenize', inputs['views'])  # (B, N)
        if codes.shape != inputs['mask'].shape:
            raise InputError(
                f'the tokenizer makes {codes.shape[1]} codes per image, the mask has {inputs["mask"].shape[1]} '
                'patches: '
                "make the preprocessor's view_size, the tokenizer's patch size and the mask's grid agree"
            )
        if mode == 'loss':
            index = inputs['masked_index']
            features, aggregated = self._encode(inputs['images'], inputs['mask'], index)
            features = self.backbone.norm(features).flatten(0, 1)
            if aggregated is not None and self.neck is not None:
                norm = self.backbone.norm if self.neck.is_shared else self.neck.norm
                aggregated = norm(aggregated).flatten(0, 1)
            return self.head.loss(features, aggregated, codes.gather(1, index).flatten())
        if mode == 'predict':
            outputs = self.backbone(inputs['images'], inputs['mask'])
            (logits,) = self.head(self.backbone.norm(outputs[-1][:, 1:]))
            return [
                DataSample(codes=code, predicted_codes=predicted, mask=mask)
                for code, predicted, mask in zip(codes, logits.argmax(dim=-1), inputs['mask'], strict=True)
            ]
        raise InputError(f'mode={mode!r} is unknown: choose tensor, loss or predict')

    def cls_features(self, crops: Tensor) -> Tensor:
        """CLS tokens after the final norm, of unit length, (B, C), of whole crops (B, 3, H, W) uint8, as loaded."""
        images = self.data_preprocessor.normalise(self.data_preprocessor.to_unit(crops))
        return F.normalize(self.backbone.norm(self.backbone(images)[-1][:, 0]), dim=-1)

    def _encode(self, images: Tensor, mask: Tensor, masked_index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Masked tokens (B, M, C) of both branches, before the final norm; the position bias is computed once.

        The last block of each branch computes the masked tokens only, as nothing else of it is used (but CLS, which the
        aggregation needs): 6 % less work in all for ViT-B.
        """
        bias = self.backbone.position_bias(self.backbone.grid_of(images))
        rows = masked_index + 1  # CLS comes first
        if self.neck is None:
            return self.backbone(images, mask, bias, rows)[-1], None
        early, last = self.backbone(images, mask, bias, F.pad(rows, (1, 0)))
        last, aggregated = self.neck(early, last, bias, rows)
        return last[:, 1:], aggregated
