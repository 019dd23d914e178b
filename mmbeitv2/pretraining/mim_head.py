"""Prediction of the visual tokens (paper, section 2.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmbeitv2.layers import init_layers
from mmbeitv2.registry import MODELS


@MODELS.register_module()
class BEiTv2MIMHead(BaseModule):
    """One linear layer that predicts codes; with patch aggregation, both branches use it in one matrix product.

    Args:
        embed_dims: width C of the tokens; :class:`BEiTv2` takes it from the backbone.
        num_codes: size of the tokenizer's codebook; :class:`BEiTv2` takes it from the tokenizer.
        shared_head: False adds a separate layer for the aggregated branch (paper, table 5).
    """

    def __init__(
        self,
        embed_dims: int,
        num_codes: int,
        shared_head: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed_dims, self.num_codes = embed_dims, num_codes
        self.shared_head = shared_head
        self.lm_head = nn.Linear(embed_dims, num_codes)
        self.cls_pt_lm_head = None if shared_head else nn.Linear(embed_dims, num_codes)

    def forward(self, features: Tensor, aggregated: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits (M, num_codes) per branch of masked features (M, C)."""
        if aggregated is None:
            return (self.lm_head(features),)
        if self.cls_pt_lm_head is not None:
            return self.lm_head(features), self.cls_pt_lm_head(aggregated)
        return self.lm_head(torch.cat((features, aggregated))).chunk(2)

    def loss(self, features: Tensor, aggregated: Tensor | None, codes: Tensor) -> dict[str, Tensor]:
        """Cross-entropy and accuracy on masked patches, of both branches (paper, equations 5 and 6).

        Args:
            features: (M, C) of the last layer, normalized.
            aggregated: (M, C) of the patch aggregation, normalized; None without it.
            codes: (M,) int64, the tokenizer's.

        Returns:
            ``loss_mim``, ``acc_mim`` and with aggregation ``loss_mim_cls``, ``acc_mim_cls``; accuracies in percent.
        """
        losses = {}
        for suffix, logits in zip(('', '_cls'), self(features, aggregated), strict=False):
            losses[f'loss_mim{suffix}'] = F.cross_entropy(logits.float(), codes)
            losses[f'acc_mim{suffix}'] = 100 * (logits.detach().argmax(dim=1) == codes).float().mean()
        return losses

    def init_weights(self) -> None:
        """Truncated normal weights and zero biases, as in the backbone."""
        if not self.is_init:
            init_layers(self, 'pretraining')
        super().init_weights()
