"""From images to visual tokens with a trained tokenizer."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image
from torch import Tensor

from mmbeitv2.datasets import LoadImage
from mmbeitv2.datasets.decoding import check_size, to_rgb
from mmbeitv2.datasets.resizing import Fit, fit_image
from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.inference.channels import channels_of
from mmbeitv2.inference.config import merge_options, read_config
from mmbeitv2.inference.loading import load_model, usable_device
from mmbeitv2.tokenizers import VQKD, DALLETokenizer, KMeansTokenizer

ImageLike = str | Path | Image.Image | np.ndarray | Tensor


class VisualTokenizer:
    """A trained tokenizer: turns images of any kind and size into codes, and codes into code vectors.

    Args:
        config: config file of a tokenizer, or of a pretraining whose tokenizer is used.
        checkpoint: weights, ours or released.
        device: where to run; None for the GPU if there is one.
        fit: how an image becomes a square: ``'crop'`` scales its shorter side to the model's size and cuts out the
            middle; ``'stretch'`` scales both sides.
        cfg_options: settings that override those of the config, as a dict (``{'model.quantizer.num_codes': 1024}``) or
            as strings ``KEY=VALUE`` like ``--cfg-options``.

    Raises:
        InputError: if config and checkpoint do not fit, or the device cannot be used.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path,
        device: str | torch.device | None = None,
        fit: Fit = 'crop',
        cfg_options: Sequence[str] | dict | None = None,
    ) -> None:
        if fit not in get_args(Fit):
            raise InputError(f'fit={fit!r} is unknown. Choose one of {", ".join(get_args(Fit))}.')
        if checkpoint is None or not str(checkpoint):
            raise InputError('a tokenizer with random weights gives meaningless codes. Pass its checkpoint.')
        self.fit = fit
        self.device = usable_device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        cfg = merge_options(config if isinstance(config, Config) else read_config(str(config)), cfg_options)
        self.channels = channels_of(cfg)
        self.model: VQKD | KMeansTokenizer | DALLETokenizer = load_model(
            cfg, checkpoint, 'tokenizer', device=self.device
        ).requires_grad_(False)
        height, width = self.model.grid_size
        self.image_size = (height * self.model.patch_size, width * self.model.patch_size)

    @property
    def grid_size(self) -> tuple[int, int]:
        """Codes (h, w) of an image."""
        return self.model.grid_size

    @property
    def num_codes(self) -> int:
        """Size of the codebook."""
        return self.model.num_codes

    @property
    def codebook(self) -> Tensor:
        """Code vectors (num_codes, D), each of unit length.

        Raises:
            InputError: if the tokenizer has none (DALL-E's has none).
        """
        if isinstance(self.model, DALLETokenizer):
            raise InputError("DALL-E's tokenizer has no code vectors: its codes are the classes of a classifier")
        return self.model.quantize.embedding.weight

    @torch.inference_mode()
    def __call__(self, images: ImageLike | Iterable[ImageLike], batch_size: int = 64) -> Tensor:
        """Tokenizes images.

        Args:
            images: one image, or any iterable of images: paths; PIL images; arrays (H, W, 3) or (H, W), uint8 RGB;
                tensors (3, H, W), uint8 or float in [0, 1], RGB. A tensor or array of four dimensions is a batch.
                Where the config loads other channels (``mmbeitv2.LoadChannels``): paths, arrays (H, W, C) and tensors
                (C, H, W) of the type and with the values that its files have.
            batch_size: images that go through the network at once, at least 1.

        Returns:
            Codes (B, h, w) int64, on the CPU.

        Raises:
            InputError: if an image cannot be read, or is none of the above.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f'batch_size={batch_size!r} must be a whole number of at least 1')
        is_batch = images.ndim == 4 if isinstance(images, (np.ndarray, Tensor)) else _is_collection(images)
        remaining = iter(images if is_batch else [images])  # type: ignore[arg-type]
        codes = [torch.empty(0, *self.grid_size, dtype=torch.int64)]
        while batch := [self.prepare(image) for image in islice(remaining, min(batch_size, sys.maxsize))]:
            codes.append(self.tokenize(torch.stack(batch)))
        return torch.cat(codes)

    @torch.inference_mode()
    def tokenize(self, prepared: Tensor) -> Tensor:
        """Codes (B, h, w) int64, on the CPU, of images that :meth:`prepare` made, stacked."""
        images = prepared.to(self.device)
        images = images.float().div(127.5).sub(1) if self.channels is None else self.channels.for_tokenizer(images)
        return self.model.tokenize(images).unflatten(1, self.grid_size).cpu()

    def lookup(self, codes: Tensor | np.ndarray | Sequence[int]) -> Tensor:
        """Code vectors (..., D) float32, on the CPU, of codes (...), whole numbers.

        Raises:
            InputError: if these are not codes of this tokenizer.
        """
        try:
            array = np.asarray(codes.detach().cpu() if isinstance(codes, Tensor) else codes)
        except (ValueError, TypeError, NotImplementedError) as error:  # the last of a tensor on device meta
            raise InputError(f'these are not codes ({error}). Pass an array of whole numbers.') from None
        if array.size and array.dtype.kind not in 'iu':
            raise InputError(f'codes of type {array.dtype} cannot be looked up. Pass whole numbers.')
        index = torch.from_numpy(array.astype(np.int64))
        if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < self.num_codes:
            raise InputError(
                f'the codes lie between {int(index.min())} and {int(index.max())}, but the codebook has '
                f'{self.num_codes}, counted from 0. Use the tokenizer that made them.'
            )
        return self.codebook.cpu()[index]

    def prepare(self, image: ImageLike) -> Tensor:
        """An image at the model's size: (3, H, W) uint8 RGB, or (C, H, W) of the config's channels."""
        return fit_image(self.read(image), self.image_size, self.fit)

    def read(self, image: ImageLike) -> Tensor:
        """An image at its own size: (3, H, W) uint8 RGB, or (C, H, W) of the config's channels."""
        return to_tensor(image) if self.channels is None else self.channels.read(image)

    def pictures(self, prepared: Tensor) -> Tensor:
        """Images of :meth:`prepare`, stacked, as pictures (B, 3, H, W) uint8 RGB."""
        return prepared if self.channels is None else self.channels.picture(prepared)


def _is_collection(images: object) -> bool:
    return isinstance(images, Iterable) and not isinstance(images, (str, bytes, dict, Image.Image))


def to_tensor(image: ImageLike) -> Tensor:
    """An image of any kind as (3, H, W) uint8 RGB; files and PIL images by the rules of ``datasets.decoding.to_rgb``.

    Raises:
        InputError: if it cannot be read, is truncated, or does not have the shape or type of an image.
    """
    if isinstance(image, (str, Path)):
        array = LoadImage().transform({'img_path': str(image)})['img'][..., ::-1]  # BGR -> RGB
    elif isinstance(image, Image.Image):
        try:
            check_size(image)
            array = to_rgb(image)
        except (OSError, ValueError) as error:
            raise UnreadableImageError(f'a PIL image of mode {image.mode!r} cannot be read: {error}') from error
    elif isinstance(image, np.ndarray):
        array = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
            raise InputError(
                f'an array of shape {image.shape} and type {image.dtype} is not an image. Pass (H, W, 3) uint8 RGB.'
            )
    else:
        return _checked(image)
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)


def _checked(image: Tensor) -> Tensor:
    """A tensor (3, H, W), uint8 or float in [0, 1], as uint8."""
    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3 or not image.numel():
        shape = f' of shape {tuple(image.shape)}' if isinstance(image, Tensor) else ''
        raise InputError(
            f'an object of type {type(image).__name__}{shape} is not an image. Pass a path, a PIL image, an array '
            '(H, W, 3), or a tensor (3, H, W).'
        )
    if image.layout != torch.strided or image.is_meta:
        raise InputError('a sparse tensor, or one on device meta, cannot be used as an image. Pass a dense tensor.')
    if image.dtype == torch.uint8:
        return image.cpu()
    if not image.is_floating_point() or image.dtype.itemsize == 1:
        raise InputError(f'a tensor of type {image.dtype} is not an image. Pass uint8, or float in [0, 1].')
    if not 0 <= image.min() <= image.max() <= 1:
        raise InputError(
            f'a tensor of type {image.dtype} between {image.min():.3g} and {image.max():.3g} is not an image. Pass '
            'uint8, or float in [0, 1].'
        )
    return (image * 255).round().to(torch.uint8).cpu()
