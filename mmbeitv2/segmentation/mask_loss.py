"""The loss of mask classification, from transformers. It is a separate module because transformers is optional."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor
from transformers.models.eomt.configuration_eomt import EomtConfig
from transformers.models.eomt.modeling_eomt import EomtLoss


class MaskLoss(EomtLoss):
    """EoMT's loss: Hungarian matching; cross-entropy and dice of masks at random points; cross-entropy of classes.

    transformers divides by the number of masks and queries of one process, unless accelerate is used. Here, the
    divisors are means over all processes, so that two processes train like one.

    Args:
        num_classes: classes, "no object" not included.
        num_points: points per mask at which masks are compared.
    """

    def __init__(self, num_classes: int, num_points: int) -> None:
        config = EomtConfig(train_num_points=num_points)
        config.num_labels = num_classes
        weights = dict(
            loss_cross_entropy=config.class_weight, loss_mask=config.mask_weight, loss_dice=config.dice_weight
        )
        super().__init__(config, weights)
        # A constant: checkpoints need not hold it.
        self.register_buffer('empty_weight', self.empty_weight, persistent=False)

    def weighted(
        self, masks: Tensor, classes: Tensor, mask_labels: list[Tensor], labels: list[Tensor]
    ) -> dict[str, Tensor]:
        """The weighted losses of one prediction.

        Args:
            masks: (B, Q, h, w), logits.
            classes: (B, Q, num_classes + 1), logits, "no object" last.
            mask_labels: per image (M, H, W), 0 or 1.
            labels: per image (M,) int64, the classes of its masks.

        Returns:
            ``loss_cls``, ``loss_mask`` and ``loss_dice``.
        """
        with torch.autocast(masks.device.type, enabled=False):
            losses = self(masks.float(), classes.float(), mask_labels, labels)
        return {name.replace('cross_entropy', 'cls'): losses[name] * self.weight_dict[name] for name in losses}

    def get_num_masks(self, class_labels: Any, device: torch.device) -> Tensor:
        """Number of masks of a batch, the mean over all processes, at least 1."""
        num_masks = torch.tensor(float(sum(map(len, class_labels))), device=device)
        all_reduce(num_masks, 'mean')
        return num_masks.clamp(min=1)

    def loss_labels(self, class_queries_logits: Tensor, class_labels: list[Tensor], indices: Any) -> dict[str, Tensor]:
        """Cross-entropy of the classes; a query without a mask should say "no object"."""
        no_object = len(self.empty_weight) - 1
        targets = torch.full(class_queries_logits.shape[:2], no_object, device=class_queries_logits.device)
        for row, labels, (query, mask) in zip(targets, class_labels, indices, strict=True):
            row[query] = labels[mask]
        weight = self.empty_weight
        total = weight[targets].sum()
        all_reduce(total, 'mean')
        loss = F.cross_entropy(class_queries_logits.transpose(1, 2), targets, weight, reduction='sum')
        return {'loss_cross_entropy': loss / total}
