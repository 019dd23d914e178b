"""How the model of a config takes images: RGB of 8 bits, or the channels that its pipeline loads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import Registry
from torch import Tensor

from mmbeitv2.datasets.channels import CHANNEL_EXTENSIONS, LoadChannels, to_supported_type
from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS
from mmbeitv2.datasets.transforms import to_tensor
from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.inference.config import scope_of
from mmbeitv2.registry import MODELS, TRANSFORMS


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
        else:
            array = image.detach().movedim(0, -1).cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
            try:
                pixels = self.loader.checked(to_supported_type(array))
            except InputError as error:
                raise UnreadableImageError(f'an array (H, W, C) of shape {array.shape} is no image: {error}') from error
        return to_tensor(pixels)

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
    step = next(_channel_loaders(cfg, cfg.get('train_dataloader')), None)
    if step is None:
        return None
    with scope_of(cfg):
        load = TRANSFORMS.build(step)
    settings = _preprocessing_of(cfg)
    mean, std = (values.flatten() for values in normalization_of(cfg)[:2])
    if 'value_range' in settings:
        low, high = torch.tensor(settings['value_range'], dtype=torch.float32).view(-1, 2).unbind(1)
    else:
        width = std if is_tokenizer(cfg) else 2 * std
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


def normalization_of(cfg: Config) -> tuple[Tensor, Tensor, bool]:
    """Mean and standard deviation (C, 1, 1) in the values of the files, and whether the model takes RGB, else BGR."""
    settings = _preprocessing_of(cfg)
    ours = 'mmbeitv2.BEiTv2DataPreprocessor' if 'tokenizer' in cfg.model else 'mmpretrain.ClsDataPreprocessor'
    with scope_of(cfg):
        preprocessor = MODELS.build({'type': ours, **settings})
    is_rgb = bool(settings.get('bgr_to_rgb', getattr(preprocessor, 'to_rgb', False)))
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    if mean is None or std is None:
        return torch.zeros(1, 1, 1), torch.ones(1, 1, 1), is_rgb
    if hasattr(preprocessor, 'span'):  # ours holds them in shares of the range of a channel
        mean, std = mean * preprocessor.span + preprocessor.low, std * preprocessor.span
    return mean.view(-1, 1, 1), std.view(-1, 1, 1), is_rgb


def _preprocessing_of(cfg: Config) -> dict:
    """Settings of the data preprocessor. As in mmengine, the model's own replace those of the config."""
    return cfg.model.get('data_preprocessor', cfg.get('data_preprocessor')) or {}


def _channel_loaders(cfg: Config, node: object) -> Iterator[dict]:
    """Settings of the transforms of a pipeline that load other channels than RGB."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ()
    for child in children:
        yield from _channel_loaders(cfg, child)
    if isinstance(node, dict) and issubclass(class_of(cfg, node, TRANSFORMS), LoadChannels):
        yield node


def is_tokenizer(cfg: Config) -> bool:
    """Whether the model of a config is a tokenizer itself."""
    return hasattr(class_of(cfg, cfg.model, MODELS), 'tokenize')


def class_of(cfg: Config, settings: dict, registry: Registry) -> type:
    """The class that would be built of some settings of a config; ``object`` if they name none."""
    kind = settings.get('type')
    if isinstance(kind, str):
        with scope_of(cfg), registry.switch_scope_and_registry(settings.get('_scope_')) as found:
            kind = found.get(kind)
    return kind if isinstance(kind, type) else object


def image_extensions(channels: Channels | None) -> tuple[str, ...]:
    """File name extensions of the images that are searched for in a folder."""
    return IMAGE_EXTENSIONS if channels is None else CHANNEL_EXTENSIONS
