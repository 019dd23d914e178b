"""The class of :func:`EfficientUPerHead`, in a module of its own because only segmentation needs mmseg."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import UPerHead
from mmseg.models.utils import resize
from torch import Tensor


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


def conv3x3_of_pyramid(
    maps: Sequence[Tensor], weight: Tensor, bias: Tensor | None = None, align_corners: bool = False
) -> Tensor:
    """Resizes maps bilinearly to the size of the first, concatenates them and convolves them, 3x3 with padding 1.

    Resizing and convolving are linear; the one mixes positions, the other mixes channels as well. So the channels of a
    smaller map are mixed first, at the size that it has, once for each of the nine positions of the kernel. Only then
    are the nine results resized, shifted and summed. A map of half the side takes about a quarter of the products that
    its enlarged version would take, one of a quarter of the side a sixteenth, and the backward needs no enlarged map.
    The result is that of ``F.interpolate``, ``torch.cat`` and ``F.conv2d``, up to rounding. Maps for which this would
    take more products, because they have few channels or are not smaller than the first, go that way instead.

    Args:
        maps: each (B, C_i, h_i, w_i).
        weight: (C_out, sum of C_i, 3, 3).
        bias: (C_out,).
        align_corners: see ``F.interpolate``.

    Returns:
        (B, C_out, h_0, w_0).
    """
    height, width = maps[0].shape[2:]
    kernel, *others = weight.split([x.shape[1] for x in maps], dim=1)
    result, enlarged, kernels = None, [maps[0]], [kernel]
    for x, kernel in zip(maps[1:], others, strict=True):
        if not _is_cheaper(x, weight.shape[0], height, width):
            enlarged.append(F.interpolate(x, size=(height, width), mode='bilinear', align_corners=align_corners))
            kernels.append(kernel)
            continue
        rows = torch.cat(_shifted_resizing(x.shape[2], height, align_corners, x), dim=1)
        columns = _shifted_resizing(x.shape[3], width, align_corners, x)
        wide: Tensor | None = None
        for taps, matrix in zip(kernel.permute(3, 0, 2, 1), columns, strict=True):  # (C_out, 3 rows of the kernel, C_i)
            mixed = F.conv2d(x, taps.flatten(0, 1)[..., None, None])
            wide = _add(wide, mixed @ matrix.T.to(mixed.dtype))  # (B, C_out * 3, h_i, w_0)
        assert wide is not None
        wide = wide.reshape(x.shape[0], weight.shape[0], -1, width)  # (B, C_out, 3 * h_i, w_0)
        # Expanded for mmengine's counter of operations, which does not know that it is.
        result = _add(result, rows.to(wide.dtype).expand(*wide.shape[:2], -1, -1) @ wide)
    if len(enlarged) > 1:
        enlarged, kernels = [torch.cat(enlarged, dim=1)], [torch.cat(kernels, dim=1)]
    return _add(result, F.conv2d(enlarged[0], kernels[0], bias, padding=1))


def _is_cheaper(x: Tensor, channels: int, height: int, width: int) -> bool:
    """Whether mixing the channels of ``x`` at its own size and resizing the results takes fewer products."""
    _, c, h, w = x.shape
    mixing, resizing = 9 * channels * c * h * w, 3 * channels * h * width * (3 * w + height)
    return mixing + resizing < 9 * channels * c * height * width


def _add(total: Tensor | None, x: Tensor) -> Tensor:
    """The sum, in place: of ``total``, no backward needs the former value."""
    return x if total is None else total.add_(x)


def _shifted_resizing(side: int, target: int, align_corners: bool, like: Tensor) -> list[Tensor]:
    """Three matrices (target, side): they resize a vector and shift it by 1, 0 and -1, with zeros beyond its ends."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    identity = torch.eye(side, dtype=dtype, device=like.device)[None]
    matrix = F.interpolate(identity, size=target, mode='linear', align_corners=align_corners)[0].T
    return [F.pad(matrix, (0, 0, 1 - k, k - 1)) for k in range(3)]
