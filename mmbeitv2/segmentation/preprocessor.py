"""Normalization of images that are not RGB, for mmseg's models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmbeitv2.pretraining.preprocessor import check_statistics
from mmbeitv2.registry import MODELS


@MODELS.register_module()
class ChannelsSegDataPreprocessor(BaseDataPreprocessor):
    """mmseg's ``SegDataPreProcessor`` for any number of channels; mmseg's own only accepts a mean of one or three.

    Args:
        mean: per channel, in the values of the files.
        std: likewise, above 0.
        kwargs: see ``mmseg.SegDataPreProcessor``.

    Raises:
        InputError: if ``mean`` and ``std`` do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs: object) -> None:
        super().__init__()
        check_statistics(mean, std)
        self.stacking = MODELS.build(dict(type='mmseg.SegDataPreProcessor', **kwargs))
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalizes the images of a batch, each (C, H, W), and pads and stacks them as mmseg does."""
        data = self.cast_data(data)
        return self.stacking(
            {**data, 'inputs': [(image.float() - self.mean) / self.std for image in data['inputs']]}, training
        )
