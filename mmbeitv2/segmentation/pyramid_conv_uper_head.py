"""The class of :func:`EfficientUPerHead`, in a module of its own because only segmentation needs mmseg."""

from __future__ import annotations

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import UPerHead
from mmseg.models.utils import resize
from torch import Tensor

from mmbeitv2.segmentation.pyramid_conv import conv3x3_of_pyramid


class PyramidConvUPerHead(UPerHead):
    """mmseg's ``UPerHead`` with other operations, see :func:`EfficientUPerHead`."""

    def psp_forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The coarsest map (B, C_in, h, w) with its pooled versions: (B, C, h, w)."""
        pooled = [pool(inputs[-1]) for pool in self.psp_modules]
        return self._convolve(self.bottleneck, [inputs[-1], *pooled])

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """What the classifier sees, (B, C, h_0, w_0), from the feature maps of the backbone, the finest first."""
        selected = self._transform_inputs(inputs)
        coarser = self.psp_forward(selected)
        levels = [coarser]
        for x, lateral, smooth in zip(selected[-2::-1], self.lateral_convs[::-1], self.fpn_convs[::-1], strict=True):
            x = lateral(x)
            coarser = x + resize(coarser, size=x.shape[2:], mode='bilinear', align_corners=self.align_corners)
            levels.insert(0, smooth(coarser))
        return self._convolve(self.fpn_bottleneck, levels)

    def _convolve(self, layer: ConvModule, maps: Sequence[Tensor]) -> Tensor:
        """``layer`` applied to maps of several sizes: (B, C, h_0, w_0)."""
        x = conv3x3_of_pyramid(maps, layer.conv.weight, layer.conv.bias, self.align_corners)
        if layer.with_norm:
            x = layer.norm(x)
        return layer.activate(x) if layer.with_activation else x
