"""Writes the segmentations of images: label maps, overlays and confidence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from mmbeitv2.datasets.transforms import to_tensor
from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.inference.pipeline_images import PipelineImages
from mmbeitv2.inference.tiling import (
    TIFF_EXTENSIONS,
    ArrayImage,
    TiffImage,
    WriteWindow,
    band_width,
    blend_tiles,
    raster_settings,
    tile_starts,
    writing_png,
    writing_tiff,
)


@dataclass(frozen=True)
class Classes:
    """What the numbers of classes stand for.

    Args:
        names: of the classes.
        colors: RGB of each, uint8 (classes, 3).
        values: of each in the label images of the training, (classes,).
    """

    names: list[str]
    colors: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Maps:
    """The maps that are written of each image.

    Args:
        folder: for ``labels``, ``overlays`` and ``confidence``.
        classes: which give the values and colors.
        overlay: whether to write the image in the colors of its classes.
        confidence: whether to write the probability of the predicted class.
        threshold: probability from which a model with one output predicts the second of its two classes.
        by_masks: whether scores are sums of the probabilities of masks, as of EoMT, and not logits. What they lack of
            1 is the probability of no class.
    """

    folder: Path
    classes: Classes
    overlay: bool
    confidence: bool
    threshold: float
    by_masks: bool

    def paths(self, name: str, tiled: bool) -> list[Path]:
        """The files of an image; of a tiled TIFF they are TIFFs."""
        kinds = ['labels', *['overlays'] * self.overlay, *['confidence'] * self.confidence]
        stem, extension = os.path.splitext(name)
        suffix = '.tif' if tiled and extension.lower() in TIFF_EXTENSIONS else '.png'
        return [self.folder / kind / f'{stem}{suffix}' for kind in kinds]

    @contextmanager
    def writing(
        self, name: str, size: tuple[int, int], georeference: dict[str, Any] | None = None
    ) -> Iterator[Callable[[int, int, Tensor, Callable[[], np.ndarray]], None]]:
        """The files of an image, which are there when the block succeeds.

        Args:
            name: of the image.
            size: (H, W).
            georeference: of a TIFF, which is written by windows; None for PNG.

        Yields:
            A function (top, left, scores (C, h, w), picture) that puts a part into the maps. A single score is a
            probability. ``picture()`` gives the part of the image, (h, w, 3) uint8 RGB.
        """
        values = self.classes.values.astype(np.uint8 if self.classes.values.max() < 256 else np.uint16)
        palette = None
        if values.dtype == np.uint8:
            palette = np.zeros((256, 3), np.uint8)
            palette[values] = self.classes.colors
        kinds: dict[str, tuple[int, type, np.ndarray | None]] = {
            'labels': (1, values.dtype.type, palette),
            'overlays': (3, np.uint8, None),
            'confidence': (1, np.uint8, None),
        }
        writers: dict[str, WriteWindow] = {}

        def write(top: int, left: int, scores: Tensor, picture: Callable[[], np.ndarray]) -> None:
            best, chosen = scores.max(0)
            if len(scores) == 1:  # a probability of the second of two classes
                chosen = (best > self.threshold).long()
                best = torch.maximum(best, 1 - best)
            numbers = chosen.cpu().numpy()
            writers['labels'](top, left, values[numbers])
            if self.overlay:
                mixed = picture().astype(np.uint16) + self.classes.colors[numbers]
                writers['overlays'](top, left, (mixed // 2).astype(np.uint8))
            if self.confidence:
                if len(scores) == 1:
                    share = best
                else:
                    share = best / scores.sum(0).clamp(min=1) if self.by_masks else scores.softmax(0).amax(0)
                writers['confidence'](top, left, share.mul(255).round().byte().cpu().numpy())

        with ExitStack() as stack:
            for path in self.paths(name, georeference is not None):
                kind = path.relative_to(self.folder).parts[0]
                file = (
                    writing_png(path, size, *kinds[kind])
                    if georeference is None
                    else writing_tiff(path, size, *kinds[kind], georeference)
                )
                writers[kind] = stack.enter_context(file)
            yield write


def segment(
    model: Any, images: PipelineImages, maps: Maps, batch_size: int, num_workers: int
) -> Iterator[tuple[str, dict | str]]:
    """Writes the maps of images as the test pipeline makes them."""
    for ((name, sample),) in DataLoader(images, num_workers=num_workers, collate_fn=list):
        if not isinstance(sample, str):
            try:
                _segment_image(model, images, sample, name, maps, batch_size)
            except UnreadableImageError as error:
                sample = str(error)
        yield name, sample if isinstance(sample, str) else {}


def _segment_image(model: Any, images: PipelineImages, sample: dict, name: str, maps: Maps, batch_size: int) -> None:
    data = model.data_preprocessor(pseudo_collate([sample]), False)
    metas = [each.metainfo for each in data['data_samples']]
    _require_patch(model, data['inputs'], images.files[name])
    if model.test_cfg.mode == 'slide':
        logits = blended_slide_inference(model, data['inputs'], metas, batch_size)
    else:
        logits = model.inference(data['inputs'], metas)
    scores = model.postprocess_result(logits, data['data_samples'])[0].seg_logits.data
    with maps.writing(name, tuple(scores.shape[1:])) as write:
        write(0, 0, scores, lambda: images.picture(sample['loaded']))


def _require_patch(model: Any, inputs: Tensor, path: str) -> None:
    """Refuses one image (B, C, H, W) for its size, which the backbone or the pyramid behind it would refuse for all."""
    side = getattr(model.backbone, 'patch_size', 1)
    pools: list[Any] = [each.kernel_size for each in model.modules() if isinstance(each, nn.MaxPool2d)]
    if side > 1 and pools:
        side = max(side, (max(pools) - 1) * side + 1)  # the last patch may be a part
    if min(inputs.shape[2:]) < side:
        raise UnreadableImageError(
            f'image {path!r} is smaller than the {side} pixels that the model needs. Enlarge or remove it.'
        )


def blended_slide_inference(model: Any, inputs: Tensor, metas: list[dict], batch_size: int = 1) -> Tensor:
    """Logits (1, C, H, W) of an image, like mmseg's slide inference with blended seams, so many crops at once."""
    (height, width), (crop, stride) = inputs.shape[2:], tile_settings(model)

    def predict_tiles(top: int, lefts: Sequence[int]) -> Tensor:
        tiles = [inputs[..., top : top + crop[0], left : left + crop[1]] for left in lefts]
        return _encode_decode(model, torch.cat(tiles), metas[0])

    strips = blend_tiles((height, width), crop, stride, predict_tiles, batch_size=batch_size)
    return torch.cat([strip for _, strip in strips], dim=1)[None]


def _encode_decode(model: Any, tiles: Tensor, meta: dict) -> Tensor:
    """Logits (B, C, h, w); mmseg takes the size of a tile from ``img_shape``, if it is a ``torch.Size``."""
    return model.encode_decode(tiles, [dict(meta, img_shape=tiles.shape[2:])] * len(tiles))


def tile_settings(model: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width of a tile, and the steps between tiles; raises an InputError if they do not cover an image."""
    crop, stride = (model.test_cfg.get(key) for key in ('crop_size', 'stride'))
    if not crop or not stride or any(step > side or step < 1 for step, side in zip(stride, crop, strict=True)):
        raise InputError(
            f'tiles of model.test_cfg.crop_size={crop} with model.test_cfg.stride={stride} do not cover an image. Set '
            'both, for example to [512,512] and [384,384], with --cfg-options.'
        )
    return tuple(crop), tuple(stride)


def segment_tiled(
    model: Any, images: PipelineImages, maps: Maps, memory: int, batch_size: int
) -> Iterator[tuple[str, dict | str]]:
    """Writes the maps of images at their own resolution."""
    for name in images.names:
        path = images.files[name]
        with raster_settings() if path.lower().endswith(TIFF_EXTENSIONS) else nullcontext():
            try:
                _tile_image(model, images, images.open(path), name, maps, memory, batch_size)
            except UnreadableImageError as error:
                yield name, str(error)
            else:
                yield name, {}


def _tile_image(
    model: Any,
    images: PipelineImages,
    image: ArrayImage | TiffImage,
    name: str,
    maps: Maps,
    memory: int,
    batch_size: int,
) -> None:
    (height, width), (crop, stride) = image.size, tile_settings(model)
    rows, columns = min(crop[0], height), min(crop[1], width)
    meta = dict(ori_shape=(rows, columns), pad_shape=(rows, columns), padding_size=[0] * 4)

    def predict_tiles(top: int, lefts: Sequence[int]) -> Tensor:
        tiles = [to_tensor(image.read(top, left, rows, columns)) for left in lefts]
        data = dict(inputs=tiles, data_samples=[BaseDataElement() for _ in tiles])
        inputs = model.data_preprocessor(data, False)['inputs']  # padded, if the config says so
        _require_patch(model, inputs, images.files[name])
        return _encode_decode(model, inputs, meta)[..., :rows, :columns]

    def picture(*window: int) -> np.ndarray:
        return images.picture(image.read(*window))

    band = band_width(model.out_channels, rows, memory)
    bands = [(first, min(first + band, width)) for first in range(0, width, band)]
    num_strips = len(bands) * len(tile_starts(height, crop[0], stride[0]))
    with (
        maps.writing(name, image.size, getattr(image, 'georeference', None)) as write,
        tqdm(total=num_strips, desc=name, unit='strip', leave=False, disable=None) as bar,
    ):
        for first, end in bands:
            for top, logits in blend_tiles(image.size, crop, stride, predict_tiles, (first, end), batch_size):
                scores = logits.sigmoid() if len(logits) == 1 else logits
                write(top, first, scores, partial(picture, top, first, scores.shape[1], end - first))
                bar.update()
