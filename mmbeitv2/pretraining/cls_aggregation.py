"""Patch aggregation (paper, section 2.3, "pretraining global representation")."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmbeitv2.layers import Block, drop_path_rates, rescale_blocks, select_queries
from mmbeitv2.registry import MODELS


@MODELS.register_module()
class CLSAggregationNeck(BaseModule):
    """A shallow decoder whose only inputs are the last CLS token and the patches of an earlier layer.

    :class:`BEiTv2` takes all settings but ``depth`` and ``is_shared`` from the backbone.

    Args:
        embed_dims: width C of the tokens.
        num_heads: attention heads.
        start_layer: the layer l (counted from 1) whose patches are the input. The numbering of the blocks continues
            from it, for drop path and for the rescaling of the initial weights.
        backbone_depth: layers L of the backbone.
        depth: number of blocks.
        is_shared: use the final norm of the backbone and the single linear layer of the head; if False, the neck has
            its own ``norm`` and the head a second layer (paper, table 5).
        mlp_ratio: hidden over embedding width in the MLP.
        layer_scale_init_value: initial layer scale; 0 builds none.
        drop_path_rate: of the backbone's last block.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        start_layer: int,
        backbone_depth: int,
        depth: int = 2,
        is_shared: bool = True,
        mlp_ratio: float = 4.0,
        layer_scale_init_value: float = 0.1,
        drop_path_rate: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.start_layer = start_layer
        self.is_shared = is_shared
        rates = drop_path_rates(drop_path_rate, max(backbone_depth, start_layer + depth))
        self.blocks = nn.ModuleList(
            Block(
                embed_dims,
                num_heads,
                mlp_ratio=mlp_ratio,
                drop_path=rate,
                layer_scale_init_value=layer_scale_init_value,
            )
            for rate in rates[start_layer : start_layer + depth]
        )
        self.norm = None if is_shared else nn.LayerNorm(embed_dims, eps=1e-6)

    def forward(
        self, cls_token: Tensor, early: Tensor, rel_pos_bias: Tensor | None = None, masked_index: Tensor | None = None
    ) -> Tensor:
        """Aggregates.

        Args:
            cls_token: (B, 1, C) after layer L, before the final norm.
            early: patches (B, N, C) after layer l.
            rel_pos_bias: the backbone's shared bias (1, num_heads, 1+N, 1+N).
            masked_index: (B, M) int64, the patches to compute, counted from 0; None for all.

        Returns:
            The aggregated patches, (B, M, C) or (B, N, C). They are normalized if the neck has its own norm; a shared
            norm is applied by the caller.
        """
        x = torch.cat((cls_token, early), dim=1)  # (B, 1+N, C)
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x, rel_pos_bias)
        if masked_index is None:
            x = last(x, rel_pos_bias)[:, 1:]
        else:
            x = last(*select_queries(x, rel_pos_bias, masked_index + 1))
        return x if self.norm is None else self.norm(x)

    def init_weights(self) -> None:
        """Rescales torch's default weights, with layers counted on from ``start_layer``.

        The release creates these blocks after it has initialized everything else, so they keep torch's default.
        """
        if not self.is_init:
            rescale_blocks(self.blocks, first=self.start_layer + 1)
        super().init_weights()
