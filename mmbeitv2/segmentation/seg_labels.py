"""Reads the labels of segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmbeitv2.datasets.file_backends import read_file
from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.registry import TRANSFORMS

IGNORED = 255
# Gray and palette, of whose pixels the indices are read, and black and white.
_INDEX_MODES = ('L', 'P', '1')


@TRANSFORMS.register_module(name=['LoadSegLabels', 'LoadAnnotations'])
class LoadSegLabels(BaseTransform):
    """mmseg's ``LoadAnnotations``, which also checks the label image and names it in errors.

    Adds ``gt_seg_map``, (H, W) uint8; 0 becomes 255 (ignored) and the rest is counted from 0 where the dataset has
    ``reduce_zero_label``. Put it after :class:`LoadImage`: it compares the sizes of both images.

    mmseg's inferencers leave the transform ``LoadAnnotations`` out of the test pipeline:
    ``dict(type='LoadAnnotations', _scope_='mmbeitv2')`` is this one.

    Args:
        num_classes: labels that are not below this number are rejected, except 255; None for the number that the
            dataset gives, as :class:`SegFolder` does, else any label is accepted.
        backend_args: of the file backend, see ``mmengine.fileio.get``.

    Raises:
        UnreadableImageError: if the file is missing, truncated, or not an image.
        InputError: if it has several channels, more than eight bits, another size than the image, or a label beyond the
            classes.
    """

    def __init__(self, num_classes: int | None = None, backend_args: dict | None = None) -> None:
        if num_classes is not None and not 1 <= num_classes <= IGNORED:
            raise InputError(f'num_classes={num_classes} must lie between 1 and {IGNORED}, or be None')
        self.num_classes = num_classes
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        path = str(results['seg_map_path'])
        labels = read_labels(path, results.get('ori_shape'), self.backend_args)
        if results['reduce_zero_label']:
            labels = np.where((labels == 0) | (labels == IGNORED), IGNORED, labels - 1).astype(np.uint8)
        if label_map := results.get('label_map'):
            labels = np.array([label_map.get(label, label) for label in range(256)], np.uint8)[labels]
        num_classes = results.get('num_classes') if self.num_classes is None else self.num_classes
        if num_classes is not None and (beyond := labels[(labels >= num_classes) & (labels != IGNORED)]).size:
            first = int(results['reduce_zero_label'])  # as in the file
            raise InputError(
                f'label image {path!r} has the label {int(beyond.max()) + first}, but the dataset has {num_classes} '
                f'classes, the first of which is {first}. Correct the label, add the class to classes.txt, or name the '
                'value in ignored_labels of the dataset.'
            )
        results['gt_seg_map'] = labels
        results['seg_fields'].append('gt_seg_map')
        return results


def read_labels(path: str, shape: tuple[int, ...] | None = None, backend_args: dict | None = None) -> np.ndarray:
    """Reads a label image, (H, W) uint8.

    Args:
        path: of an image file with one channel of 8 bits, or with a palette, of which the indices are taken.
        shape: (H, W) that it must have; None for any.
        backend_args: of the file backend, see ``mmengine.fileio.get``.

    Raises:
        UnreadableImageError: if the file is missing, truncated, or not an image.
        InputError: if it has several channels, more than eight bits, or another size.
    """
    with _reading(path):
        image = Image.open(BytesIO(read_file(path, backend_args)))
    # Both are known from the header, before memory is taken for the pixels.
    if image.mode not in _INDEX_MODES:
        raise InputError(
            f'label image {path!r} has pixels of Pillow mode {image.mode!r}. It must have one 8-bit channel that holds '
            'the class number of each pixel.'
        )
    if shape is not None and (image.height, image.width) != tuple(shape):
        raise InputError(
            f'label image {path!r} has {image.width}x{image.height} pixels, but its image has {shape[1]}x{shape[0]}. '
            'Both must have the same size.'
        )
    with _reading(path):
        return np.array(image, np.uint8)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # decoders raise anything on damaged files
        reason = getattr(error, 'strerror', None) or str(error).partition(' <_io')[0] or type(error).__name__
        raise UnreadableImageError(
            f'label image {path!r} cannot be read ({reason}). Replace it, or remove it together with its image.'
        ) from error
