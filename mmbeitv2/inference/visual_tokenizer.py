"""From images to visual tokens with a trained tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image
from torch import Tensor

from mmbeitv2.datasets import LoadImage
from mmbeitv2.datasets.decoding import check_size, to_rgb
from mmbeitv2.datasets.resizing import Fit, fit_image
from mmbeitv2.errors import InputError, UnreadableImageError, require_known
from mmbeitv2.inference.channels import channels_of
from mmbeitv2.inference.config import merge_options, read_config
from mmbeitv2.inference.loading import load_model

ImageLike = str | Path | Image.Image | np.ndarray | Tensor


class VisualTokenizer:
    """A trained tokenizer: turns images of any kind and size into codes, and codes into code vectors.

    Args:
        config: config file of a tokenizer, or of a pretraining whose tokenizer is used.
        checkpoint: weights, ours or released; None or ``''`` for a tokenizer that has none.
        device: where to run; None for the GPU if there is one.
        fit: how an image becomes a square: ``'crop'`` scales its shorter side to the model's size and cuts out the
            middle; ``'stretch'`` scales both sides.
        cfg_options: settings that override those of the config, as a dict (``{'model.quantizer.num_codes': 1024}``) or
            as strings ``KEY=VALUE`` like ``--cfg-options``.

    Raises:
        InputError: if ``fit`` is unknown, config and checkpoint do not fit, or the device cannot be used.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None,
        device: str | torch.device | None = None,
        fit: Fit = 'crop',
        cfg_options: Sequence[str] | dict | None = None,
    ) -> None:
        require_known(('fit', fit, Fit))
        self.fit = fit
        place = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        cfg = merge_options(deepcopy(config) if isinstance(config, Config) else read_config(str(config)), cfg_options)
        self.channels = channels_of(cfg)
        #: a :class:`mmbeitv2.interfaces.Tokenizer`
        self.model = load_model(cfg, checkpoint or None, 'tokenizer', device=place).requires_grad_(False)
        if not checkpoint and self.model.state_dict():
            raise InputError('a tokenizer with random weights gives meaningless codes. Pass its checkpoint.')
        self.device = torch.device(place)
        #: codes (h, w) of an image
        self.grid_size: tuple[int, int] = self.model.grid_size
        #: size of the codebook
        self.num_codes: int = self.model.num_codes
        height, width = self.grid_size
        self.image_size = (height * self.model.patch_size, width * self.model.patch_size)

    @property
    def codebook(self) -> Tensor:
        """Code vectors (num_codes, D), on the CPU.

        Raises:
            InputError: if the codes do not stand for vectors (DALL-E's do not).
        """
        return self.lookup(torch.arange(self.num_codes))

    @torch.inference_mode()
    def __call__(self, images: ImageLike | Iterable[ImageLike], batch_size: int = 64) -> Tensor:
        """Tokenizes images.

        Args:
            images: one image, or any iterable of images: paths; PIL images; arrays (H, W, 3) or (H, W), or tensors
                (3, H, W), RGB, uint8 or float in [0, 1]. A tensor or array of four dimensions is a batch. Where the
                config loads other channels (``mmbeitv2.LoadChannels``): paths, arrays (H, W, C) and tensors (C, H, W)
                of the type and with the values that its files have.
            batch_size: images that go through the network at once.

        Returns:
            Codes (B, h, w) int64, on the CPU.

        Raises:
            InputError: if an image cannot be read, or is none of the above.
        """
        is_single = isinstance(images, (str, Path, Image.Image)) or getattr(images, 'ndim', 4) < 4
        remaining = iter([images] if is_single else images)  # type: ignore[arg-type]
        codes = [torch.empty(0, *self.grid_size, dtype=torch.int64)]
        while batch := [self.prepare(image) for image in islice(remaining, batch_size)]:
            codes.append(self.tokenize(torch.stack(batch)))
        return torch.cat(codes)

    @torch.inference_mode()
    def tokenize(self, prepared: Tensor) -> Tensor:
        """Codes (B, h, w) int64, on the CPU, of images that :meth:`prepare` made, stacked."""
        images = prepared.to(self.device)
        images = images.float().div(127.5).sub(1) if self.channels is None else self.channels.for_tokenizer(images)
        return self.model.tokenize(images).unflatten(1, self.grid_size).cpu()

    @torch.inference_mode()
    def lookup(self, codes: Tensor | np.ndarray | Sequence[int]) -> Tensor:
        """Code vectors (..., D), on the CPU, of codes (...), whole numbers.

        Raises:
            InputError: if these are not codes of this tokenizer, or it has no code vectors.
        """
        if not hasattr(self.model, 'lookup'):
            raise InputError('this tokenizer has no code vectors: its codes do not stand for vectors')
        index = torch.as_tensor(codes)
        is_whole = not index.is_floating_point() or not index.numel()
        index = index.to(self.device, torch.int64)
        if not is_whole or not bool(((index >= 0) & (index < self.num_codes)).all()):
            raise InputError(
                f'these are not codes of this tokenizer: its codes are whole numbers from 0 to {self.num_codes - 1}. '
                'Use the tokenizer that made them.'
            )
        return self.model.lookup(index).cpu()

    def prepare(self, image: ImageLike) -> Tensor:
        """An image at the model's size: (3, H, W) uint8 RGB, or (C, H, W) of the config's channels."""
        return fit_image(self.read(image), self.image_size, self.fit)

    def read(self, image: ImageLike) -> Tensor:
        """An image at its own size: (3, H, W) uint8 RGB, or (C, H, W) of the config's channels."""
        return to_tensor(image) if self.channels is None else self.channels.read(image)

    def pictures(self, prepared: Tensor) -> Tensor:
        """Images of :meth:`prepare`, stacked, as pictures (B, 3, H, W) uint8 RGB."""
        return prepared if self.channels is None else self.channels.picture(prepared)


def to_tensor(image: ImageLike) -> Tensor:
    """An image of any kind as (3, H, W) uint8 RGB; files and PIL images by the rules of ``datasets.decoding.to_rgb``.

    Raises:
        InputError: if it cannot be read, is truncated, or does not have the shape or values of an image.
    """
    if isinstance(image, (str, Path)):
        image = LoadImage().transform({'img_path': str(image)})['img'][..., ::-1]  # BGR -> RGB
    elif isinstance(image, Image.Image):
        mode = image.mode
        try:
            check_size(*image.size)
            image = to_rgb(image)
        except (OSError, ValueError) as error:
            raise UnreadableImageError(f'a PIL image of mode {mode!r} cannot be read: {error}') from error
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(np.ascontiguousarray(image))
        image = image.expand(3, -1, -1) if image.ndim == 2 else image.movedim(-1, 0)  # (H, W, 3) -> (3, H, W)
    image = torch.as_tensor(image).cpu()
    if image.ndim != 3 or len(image) != 3 or not image.numel():
        raise InputError(
            f'an array of shape {tuple(image.shape)} is not an image. Pass an array (H, W, 3) or a tensor (3, H, W).'
        )
    if image.is_floating_point() and 0 <= image.min() <= image.max() <= 1:
        return (image * 255).round().to(torch.uint8)
    if image.dtype != torch.uint8:
        raise InputError(
            f'an array of type {image.dtype} with values from {image.min():.3g} to {image.max():.3g} is not an image. '
            'Pass uint8, or float in [0, 1].'
        )
    return image
