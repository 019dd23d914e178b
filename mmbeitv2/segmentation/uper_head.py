"""UperNet's decode head (Xiao et al. 2018) in fewer operations."""

from __future__ import annotations

from typing import Any

from torch import nn

from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS


@MODELS.register_module()
def EfficientUPerHead(conv_cfg: dict | None = None, **kwargs: Any) -> nn.Module:
    """Builds mmseg's ``UPerHead`` with the same parameters and, up to rounding, the same results, but in less time and
    memory.

    The last convolution of ``UPerHead`` takes all levels of the feature pyramid, enlarged to the size of the finest
    one. At ViT-B's widths that is 72 % of the head's operations. Here each level is convolved at its own size, which
    takes a third of them. The fewer channels the head has, the less there is to gain. Checkpoints of either head load
    into the other, and any backbone of mmseg that gives a pyramid can stand in front of it.

    What is built is a ``PyramidConvUPerHead``, a subclass of ``UPerHead``. It does not call the modules ``bottleneck``,
    ``fpn_bottleneck`` and ``psp_modules`` but their parts, so forward hooks on them do not run.

    Args:
        conv_cfg: kind of the convolutions; None or ``dict(type='Conv2d')``.
        kwargs: the other arguments of ``UPerHead``.

    Raises:
        InputError: if ``conv_cfg`` asks for another kind.
    """
    if conv_cfg is not None and not (set(conv_cfg) == {'type'} and conv_cfg['type'] in ('Conv', 'Conv2d', nn.Conv2d)):
        raise InputError(
            f'EfficientUPerHead cannot have conv_cfg={dict(conv_cfg)}, because it only knows plain Conv2d. For other '
            "kinds, use mmseg's UPerHead."
        )
    from mmbeitv2.segmentation.pyramid_conv import PyramidConvUPerHead  # which imports mmseg

    return PyramidConvUPerHead(conv_cfg=conv_cfg, **kwargs)
