"""Patch aggregation (paper, section 2.3, "pretraining global representation")."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.interfaces import MaskedFeatures, PretrainingBackbone
from mmbeitv2.registry import MODELS


@MODELS.register_module()
class CLSAggregationNeck(BaseModule):
    """A shallow decoder whose only inputs are the last CLS token and the patches of an earlier layer.

    Args:
        backbone: the built backbone, which makes the blocks; :class:`BEiTv2` passes it.
        depth: number of blocks.
        shared_head: use the final norm of the backbone and the single linear layer of the head; if False, the neck has
            its own ``norm`` and the head a second layer (paper, table 5).
        init_cfg: see mmengine.
    """

    def __init__(
        self,
        backbone: PretrainingBackbone,
        depth: int = 2,
        shared_head: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.shared_head = shared_head
        self.blocks = backbone.aggregation_blocks(depth)
        self.norm = None if shared_head else nn.LayerNorm(backbone.embed_dims, eps=1e-6)

    def forward(self, features: MaskedFeatures, masked_index: Tensor) -> Tensor:
        """Aggregates.

        Args:
            features: of the backbone.
            masked_index: (B, M) int64, the patches to compute, counted from 0.

        Returns:
            The aggregated patches (B, M, C). They are normalized if the neck has its own norm; a shared norm is applied
            by the caller.
        """
        if features.layer_l_patches is None:
            raise InputError('the patch aggregation needs the patches after layer l, which the backbone does not give')
        x = torch.cat((features.cls_token, features.layer_l_patches), dim=1)  # (B, 1+N, C)
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x, features.context, None)
        x = last(x, features.context, masked_index + 1)  # token 0 is CLS
        return x if self.norm is None else self.norm(x)
