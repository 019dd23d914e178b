"""Semantic segmentation by mask classification (EoMT, Kerssies et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS
from mmbeitv2.segmentation.eomt_vit import MaskPrediction

if TYPE_CHECKING:
    from mmseg.structures import SegDataSample


@MODELS.register_module()
class EoMTHead(BaseModule):
    """Decode head of mmseg's ``EncoderDecoder`` on the backbone :class:`EoMTViT`: predicts the class of each query's
    mask.

    A pixel's score of a class is the sum over the queries of their probability of the class times that of their mask
    at the pixel. The loss is that of transformers' EoMT, with its weights (class 2, mask 5, dice 5, "no object" 0.1).
    As there, ignored pixels belong to no mask.

    Args:
        in_channels: width C of the queries.
        num_classes: number of classes, at least 2.
        num_points: points per mask at which predicted and true masks are compared in training.
        ignore_index: label of pixels that belong to no class.
    """

    align_corners = False  # mmseg asks for it

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        num_points: int = 12544,
        ignore_index: int = 255,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_classes < 2:
            raise InputError(f'num_classes={num_classes} must be at least 2. Make the background a class of its own.')
        if num_points < 1:
            raise InputError(f'num_points={num_points} must be at least 1')
        try:
            from mmbeitv2.segmentation.mask_loss import MaskLoss
        except ImportError as error:
            raise InputError(
                f'EoMTHead needs the loss of transformers >= 4.54, which cannot be imported ({error}). Install it '
                "with: pip install 'mmbeitv2[masks]'"
            ) from error
        self.in_channels, self.num_classes, self.ignore_index = in_channels, num_classes, ignore_index
        self.out_channels = num_classes
        self.class_predictor = nn.Linear(in_channels, num_classes + 1)  # the last one is "no object"
        self.mask_loss = MaskLoss(num_classes, num_points)

    def forward(self, inputs: Sequence[MaskPrediction]) -> Tensor:
        """Scores (B, num_classes, H, W) of the last prediction, at the size of its masks."""
        masks, classes = self._logits(inputs[-1])
        return semantic_scores(masks, classes)

    def loss(
        self, inputs: Sequence[MaskPrediction], batch_data_samples: list[SegDataSample], train_cfg: dict
    ) -> dict[str, Tensor]:
        """The losses of every prediction, those before the last with the prefix ``d0.``, ``d1.`` and so on."""
        maps = [sample.gt_sem_seg.data.squeeze(0) for sample in batch_data_samples]
        labels = [label[label != self.ignore_index] for label in map(torch.unique, maps)]
        mask_labels = [(one == label[:, None, None]).float() for one, label in zip(maps, labels, strict=True)]
        losses: dict[str, Tensor] = {}
        for i, prediction in enumerate(inputs):
            prefix = '' if i == len(inputs) - 1 else f'd{i}.'
            terms = self.mask_loss.weighted(*self._logits(prediction), mask_labels, labels)
            losses |= {prefix + name: loss for name, loss in terms.items()}
        return losses

    def predict(self, inputs: Sequence[MaskPrediction], batch_img_metas: list[dict], test_cfg: dict) -> Tensor:
        """Scores (B, num_classes, H, W) at the size of the input."""
        meta = batch_img_metas[0]
        # As in mmseg's BaseDecodeHead: in slide inference img_shape is the size of the crop.
        is_crop = isinstance(meta['img_shape'], torch.Size)
        size = meta['img_shape'] if is_crop else meta.get('pad_shape', meta['img_shape'])
        masks, classes = self._logits(inputs[-1])
        return semantic_scores(F.interpolate(masks, size=tuple(size[:2]), mode='bilinear'), classes)

    def _logits(self, prediction: MaskPrediction) -> tuple[Tensor, Tensor]:
        """Logits of masks (B, Q, H, W) and classes (B, Q, num_classes + 1)."""
        if not hasattr(prediction, 'queries'):
            raise InputError("EoMTHead needs the predictions of an EoMTViT. Set backbone.type='mmbeitv2.EoMTViT'.")
        if prediction.queries.shape[2] != self.in_channels:
            raise InputError(
                f'in_channels={self.in_channels} of EoMTHead is not the width of the backbone. Set it to '
                f'{prediction.queries.shape[2]}.'
            )
        return prediction.masks, self.class_predictor(prediction.queries)


def semantic_scores(masks: Tensor, classes: Tensor) -> Tensor:
    """Mask logits (B, Q, H, W) and class logits (B, Q, classes + 1) -> scores (B, classes, H, W)."""
    return torch.einsum('bqc,bqhw->bchw', classes.softmax(dim=2)[..., :-1], masks.sigmoid())
