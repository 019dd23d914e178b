"""Segmentation by nearest patches: evaluates a frozen backbone on pixels without any training.

Patches of labeled images form a bank. The patches of another image take the labels of their nearest neighbors in it,
weighted by similarity, and are scaled up to pixels (Balazevic et al. 2023, "Towards in-context scene understanding",
section 3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object
from torch import Tensor
from torch.utils.data import DataLoader

from mmbeitv2.errors import InputError
from mmbeitv2.evaluation.knn import knn_votes

IGNORED = 255


class Patches(NamedTuple):
    """Patches with their labels."""

    features: Tensor  # (n, C), of unit length
    shares: Tensor  # (n, K): share of each class among the labeled pixels of a patch
    keys: Tensor  # (n,) float64 in [0, 1): random, by the seed, the image and the place in it


class SegmentedImage(NamedTuple):
    """An image as its backbone sees it, with labels."""

    features: Tensor  # (N, C), of unit length
    grid: tuple[int, int]  # h and w, N = h·w
    size: tuple[int, int]  # height and width of the input, at most the grid's
    labels: Tensor  # (H, W) int64, of any size
    name: str  # path in the dataset's folder


def score_by_patches(
    model: Any,
    bank: DataLoader,
    queries: DataLoader,
    max_per_class: int = 1000,
    num_neighbors: int = 30,
    temperature: float = 0.02,
    seed: int = 0,
) -> dict[str, float]:
    """mIoU, mAcc and aAcc in percent, by mmseg's ``IoUMetric``, of labels that nearest patches give.

    All processes must call it: each reads its share of the loaders, and all get the same bank and the same result,
    which does not depend on the number of processes.

    Args:
        model: in eval mode, with a ``backbone.patch_size``, whose ``patch_features`` gives unit features (B, N, C) of
            images (B, 3, H, W) uint8, as :class:`mmbeitv2.pretraining.BEiTv2` does.
        bank: loader of labeled images whose pipeline ends with mmseg's ``PackSegInputs``. As in its test pipelines,
            images are resized before the labels are loaded, and not cropped or padded.
        queries: the same for the images to score.
        max_per_class: largest number of patches per class in the bank, chosen at random.
        num_neighbors: number of neighbors whose labels are averaged.
        temperature: a neighbor's weight is proportional to exp(cosine / temperature).
        seed: of the choice of the bank's patches.

    Raises:
        InputError: if the loaders have different classes, a label lies beyond them, or no patch has a label.
    """
    from mmseg.evaluation import IoUMetric  # mmseg is needed for segmentation only

    classes = classes_of(bank, queries)
    patches = collect_bank(_images(model, bank), len(classes), model.backbone.patch_size, max_per_class, seed)
    metric = IoUMetric(iou_metrics=['mIoU'], collect_device='gpu')  # mmengine's name for "not by files"
    metric.dataset_meta = {'classes': classes}
    for image in _images(model, queries):
        votes = knn_votes(patches.features, patches.shares, image.features, num_neighbors, temperature)
        predicted = upsample(votes, image, model.backbone.patch_size).argmax(dim=0)
        metric.process({}, [{'pred_sem_seg': {'data': predicted}, 'gt_sem_seg': {'data': image.labels}}])
    return {name: float(value) for name, value in metric.evaluate(len(queries.dataset)).items()}  # type: ignore[arg-type]


def classes_of(bank: DataLoader, queries: DataLoader) -> tuple[str, ...]:
    """Names of the classes of two loaders; an :class:`InputError` if there are none, only one, or they differ."""
    infos = [getattr(loader.dataset, 'metainfo', None) or {} for loader in (bank, queries)]
    first, second = (tuple(info.get('classes') or ()) for info in infos)
    if not first or first != second:
        raise InputError(
            f'bank and queries must have the same classes, but have {len(first)} and {len(second)}. Use the same '
            'class list for both.'
        )
    if len(first) == 1:
        raise InputError('bank and queries have a single class, so every score is 100. Add at least a second one.')
    return first


@torch.no_grad()
def _images(model: Any, loader: DataLoader) -> Iterator[SegmentedImage]:
    """The images of a loader of this process, with their features."""
    device, side = next(model.parameters()).device, model.backbone.patch_size
    for batch in loader:
        images = list(batch['inputs'])
        is_even = len({image.shape for image in images}) == 1
        groups = [torch.stack(images)] if is_even else [image[None] for image in images]
        features = [each for group in groups for each in model.patch_features(group.to(device)).float()]
        for image, feature, sample in zip(images, features, batch['data_samples'], strict=True):
            height, width = image.shape[1:]
            grid = (-(-height // side), -(-width // side))
            labels = sample.gt_sem_seg.data[0].to(device, torch.int64)
            name = str(sample.img_path).removeprefix(str(getattr(loader.dataset, 'data_root', None) or ''))
            yield SegmentedImage(feature, grid, (height, width), labels, name)


def collect_bank(
    images: Iterable[SegmentedImage], num_classes: int, patch_size: int, max_per_class: int, seed: int
) -> Patches:
    """The bank: of each class the patches with the smallest random keys, over all processes.

    Patches of which fewer than half of the pixels are labeled are left out.
    """
    kept: list[Patches] = []
    for image in images:
        kept.append(_labeled_patches(image, num_classes, patch_size, seed))
        if sum(len(each.keys) for each in kept[1:]) > max_per_class * num_classes:  # so that memory is bounded
            kept = [_trim(_join(kept), max_per_class)]
    if not kept:
        raise InputError('the bank has no images. Choose a folder with more images than there are processes.')
    parts = all_gather_object(Patches(*(each.cpu() for each in _trim(_join(kept), max_per_class))))
    bank = _trim(_join(parts), max_per_class)
    if not len(bank.keys):
        raise InputError('no patch of the bank has a label, because all pixels of its label images are ignored')
    return Patches(*(each.to(kept[0].features.device) for each in bank))


def _labeled_patches(image: SegmentedImage, num_classes: int, patch_size: int, seed: int) -> Patches:
    counts = label_counts(image, num_classes, patch_size)  # (N, K+1)
    labeled = counts[:, :-1].sum(dim=1)
    chosen = (2 * labeled >= counts.sum(dim=1)).logical_and(labeled > 0).nonzero()[:, 0]
    draw = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(image.name.encode()).digest()[:8], 'little')])
    keys = torch.from_numpy(draw.random(len(counts))).to(chosen.device)
    return Patches(image.features[chosen], counts[chosen, :-1] / labeled[chosen, None], keys[chosen])


def label_counts(image: SegmentedImage, num_classes: int, patch_size: int) -> Tensor:
    """Pixels of each class in each patch, (N, K+1), in the last column those that are ignored."""
    labels, (h, w) = image.labels, image.grid
    beyond = labels[(labels >= num_classes) & (labels != IGNORED)]
    if len(beyond):
        raise InputError(
            f'the label image of {image.name!r} has the label {int(beyond.max())}, but there are {num_classes} '
            'classes, counted from 0 after reduce_zero_label. Correct the label, or the class list.'
        )
    row, column = (
        ((torch.arange(pixels, device=labels.device) + 0.5) * (size / pixels) / patch_size).long().clamp(max=last - 1)
        for pixels, size, last in zip(labels.shape, image.size, (h, w), strict=True)
    )
    place = row[:, None] * w + column  # (H, W): the patch that a pixel lies in
    index = place * (num_classes + 1) + labels.clamp(max=num_classes)
    return torch.bincount(index.flatten(), minlength=h * w * (num_classes + 1)).view(h * w, num_classes + 1)


def _join(parts: list[Patches]) -> Patches:
    return Patches(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _trim(patches: Patches, max_per_class: int) -> Patches:
    """The patches with the smallest keys of each class, in the order of class and key, none twice."""
    classes, keys = patches.shares.argmax(dim=1).cpu().numpy(), patches.keys.cpu().numpy()
    order = np.lexsort((keys, classes))
    classes, keys = classes[order], keys[order]
    is_new = np.ones(len(order), dtype=bool)  # samplers repeat images so that each process has as many
    is_new[1:] = (classes[1:] != classes[:-1]) | (keys[1:] != keys[:-1])
    order, classes = order[is_new], classes[is_new]
    rank = np.arange(len(order)) - np.searchsorted(classes, classes)  # in its class
    chosen = torch.from_numpy(order[rank < max_per_class])
    return Patches(*(each[chosen.to(each.device)] for each in patches))


def upsample(votes: Tensor, image: SegmentedImage, patch_size: int) -> Tensor:
    """Votes of patches (N, K) as a map (K, H, W) of the size of the labels; padding is cut off."""
    (h, w), (height, width) = image.grid, image.size
    maps = votes.T.unflatten(1, (h, w))[None]  # (N, K) -> (1, K, h, w)
    if (h * patch_size, w * patch_size) != image.size:
        maps = F.interpolate(maps, size=(h * patch_size, w * patch_size), mode='bilinear', align_corners=False)
        maps = maps[..., :height, :width]
    return F.interpolate(maps, size=image.labels.shape, mode='bilinear', align_corners=False)[0]
