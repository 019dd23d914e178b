"""How the model of a config takes images: RGB of 8 bits, or the channels that its pipeline loads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from mmbeitv2.datasets.channels import CHANNEL_EXTENSIONS, LoadChannels, to_supported_type
from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS
from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.inference.config import walk_settings


@dataclass(frozen=True)
class Channels:
    """The channels of a config's images.

    Args:
        loader: of the image files.
        low: value of each channel that is -1 for a tokenizer and black in a picture, (C, 1, 1).
        high: value that is 1 and full brightness, likewise.
        color: the channels that are red, green and blue in a picture.
    """

    loader: LoadChannels
    low: Tensor
    high: Tensor
    color: list[int]

    def read(self, image: object) -> Tensor:
        """An image file, an array (H, W, C) or a tensor (C, H, W), with the values of the files, as (C, H, W).

        Raises:
            InputError: if it cannot be read, or has other channels or another type than the config's images.
        """
        if isinstance(image, (str, Path)):
            pixels = self.loader.transform({'img_path': str(image)})['img']
        elif isinstance(image, (np.ndarray, Tensor)):
            array = image.detach().cpu().numpy() if isinstance(image, Tensor) else image
            if isinstance(image, Tensor) and image.ndim == 3:
                array = array.transpose(1, 2, 0)
            try:
                pixels = self.loader.checked(to_supported_type(array))
            except InputError as error:
                raise UnreadableImageError(
                    f'an array of shape {tuple(image.shape)} cannot be used as an image: {error}'
                ) from error
        else:
            raise InputError(
                f'an object of type {type(image).__name__} is not an image of {self.loader.channels} channels. Pass '
                'a path, an array (H, W, C), or a tensor (C, H, W).'
            )
        return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)

    def for_tokenizer(self, pixels: Tensor) -> Tensor:
        """Pixels (..., C, H, W) with their range as [-1, 1]."""
        low, high = self.low.to(pixels.device), self.high.to(pixels.device)
        return (pixels.float() - low) / (high - low) * 2 - 1

    def picture(self, pixels: Tensor) -> Tensor:
        """Pixels (..., C, H, W) as a picture (..., 3, H, W) uint8 RGB."""
        chosen = self.for_tokenizer(pixels).index_select(-3, torch.tensor(self.color))
        return ((chosen + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def channels_of(cfg: Config) -> Channels | None:
    """The channels of a config's images; None for RGB of 8 bits.

    The range of a channel is the ``value_range`` of the data preprocessor. Without one, it is the range that the
    preprocessor of a tokenizer maps to [-1, 1], or else the mean plus and minus two standard deviations.
    """
    loader = next(
        (
            {name: item for name, item in value.items() if name != 'type'}
            for _, value in walk_settings({'train_dataloader': cfg.get('train_dataloader') or {}})
            if isinstance(value, dict) and value.get('type') == 'mmbeitv2.LoadChannels'
        ),
        None,
    )
    if loader is None:
        return None
    load = LoadChannels(**loader)
    settings = {**(cfg.model.get('data_preprocessor') or {}), **(cfg.get('data_preprocessor') or {})}
    mean, std = (torch.tensor(settings.get(name, [0.0]), dtype=torch.float32) for name in ('mean', 'std'))
    if 'value_range' in settings:
        low, high = torch.tensor(settings['value_range'], dtype=torch.float32).view(-1, 2).unbind(1)
    else:
        width = std if cfg.model.type == 'mmbeitv2.VQKD' else 2 * std
        low, high = mean - width, mean + width
    for values in (low, high):
        if len(values) not in (1, load.num_kept):
            raise InputError(
                f'the data preprocessor of {cfg.filename!r} is set up for {len(values)} channels, but the pipeline '
                f'loads {load.num_kept}. Set mean, std and value_range for each channel.'
            )
    color: Sequence[int] = (
        settings.get('color_channels')
        or cfg.model.get('teacher_channels')
        or ((0, 1, 2) if load.num_kept >= 3 else (0, 0, 0))
    )
    low, high = (values.expand(load.num_kept).view(-1, 1, 1) for values in (low, high))
    return Channels(load, low, high, list(color))


def image_extensions(channels: Channels | None) -> tuple[str, ...]:
    """File name extensions of the images that are searched for in a folder."""
    return IMAGE_EXTENSIONS if channels is None else CHANNEL_EXTENSIONS
