"""Batch norm of frozen features, in front of a linear layer."""

from __future__ import annotations

from collections.abc import Sequence

from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmbeitv2.registry import MODELS


@MODELS.register_module()
class BatchNormNeck(BaseModule):
    """Normalizes each feature map of a backbone by batch norm, as DINOv2's linear segmentation head does.

    Args:
        in_channels: channels of each feature map.
        norm_cfg: config of the batch norm.
        init_cfg: see mmengine.
    """

    def __init__(self, in_channels: Sequence[int], norm_cfg: dict, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.norms = nn.ModuleList(build_norm_layer(norm_cfg, channels)[1] for channels in in_channels)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Feature maps, each (B, C, h, w), normalized."""
        return tuple(norm(feature) for norm, feature in zip(self.norms, features, strict=True))
