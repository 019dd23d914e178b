"""Patch aggregation (paper, section 2.3, "pretraining global representation")."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmbeitv2.models.backbones.beitv2_vit import Block, drop_path_rates, init_vit_layers, rescale_blocks
from mmbeitv2.registry import MODELS


@MODELS.register_module()
class CLSAggregationNeck(BaseModule):
    """A shallow decoder that sees the image only through the last CLS token and the patches of an earlier layer.

    Args:
        embed_dims: width C of the tokens.
        num_heads: attention heads.
        depth: number of blocks.
        start_layer: the layer l (counted from 1) whose patches come in. The blocks go on counting from it, in drop path
            and in the rescaling of the initial weights.
        backbone_depth: layers L of the backbone.
        is_shared: use the backbone's final norm and the head's one linear layer; if false, the neck has a norm of
            its own (``norm``), and the head a second layer (paper, table 5).
        mlp_ratio: hidden over embedding width in the MLP.
        layer_scale_init_value: initial layer scale; 0 builds none.
        drop_path_rate: as of the backbone.
        init_std: see :class:`BEiTv2ViT`.
        init_cutoff: see :class:`BEiTv2ViT`.
    """

    def __init__(
        self,
        embed_dims: int = 768,
        num_heads: int = 12,
        depth: int = 2,
        start_layer: int = 9,
        backbone_depth: int = 12,
        is_shared: bool = True,
        mlp_ratio: float = 4.0,
        layer_scale_init_value: float = 0.1,
        drop_path_rate: float = 0.0,
        init_std: float = 0.02,
        init_cutoff: float = 0.02,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed_dims = embed_dims
        self.start_layer = start_layer
        self.is_shared = is_shared
        self.init_std, self.init_cutoff = init_std, init_cutoff
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
        self, early: Tensor, last: Tensor, rel_pos_bias: Tensor | None = None, rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Aggregates.

        Args:
            early: tokens (B, 1+N, C) after layer l.
            last: tokens after layer L, before the final norm, of which the first must be CLS.
            rel_pos_bias: the backbone's shared bias (1, num_heads, 1+N, 1+N).
            rows: (B, M) int64, the tokens (0 is CLS) that are wanted; all if None.

        Returns:
            ``last`` and the aggregated tokens, (B, 1+N, C) or (B, M, C), before the final norm.
        """
        x = torch.cat((last[:, :1], early[:, 1:]), dim=1)
        *blocks, last_block = self.blocks
        for block in blocks:
            x = block(x, rel_pos_bias)
        x = last_block(x, rel_pos_bias, rows)
        return last, x

    def init_weights(self) -> None:
        """As the backbone, with layers counted from ``start_layer`` on."""
        if not self.is_init:
            init_vit_layers(self, self.init_std, self.init_cutoff)
            rescale_blocks(self.blocks, first=self.start_layer + 1)
        super().init_weights()
