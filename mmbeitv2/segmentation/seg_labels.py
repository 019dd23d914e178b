"""Reads the labels of segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

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
        from mmseg.datasets.transforms import LoadAnnotations  # mmseg is needed for segmentation only

        if num_classes is not None and not 1 <= num_classes <= IGNORED:
            raise InputError(f'num_classes={num_classes} must lie between 1 and {IGNORED}, or be None')
        self.num_classes = num_classes
        self.backend_args = backend_args
        self.load = LoadAnnotations(backend_args=backend_args)

    def transform(self, results: dict) -> dict:
        path = str(results['seg_map_path'])
        with _reading(path), Image.open(BytesIO(read_file(path, self.backend_args))) as header:
            mode, (width, height) = header.mode, header.size
        # Both are known from the header, before memory is taken for the pixels.
        if mode not in _INDEX_MODES:
            raise InputError(
                f'label image {path!r} has pixels of Pillow mode {mode!r}. It must have one 8-bit channel that holds '
                'the class number of each pixel.'
            )
        if (height, width) != (shape := tuple(results.get('ori_shape', (height, width)))):
            raise InputError(
                f'label image {path!r} has {width}x{height} pixels, but its image has {shape[1]}x{shape[0]}. Both '
                'must have the same size.'
            )
        with _reading(path):
            results = self.load.transform(results)
        results['gt_seg_map'] = results['gt_seg_map'].reshape(height, width)  # mmseg drops a side of one pixel
        known = results.get('num_classes')
        num_classes = known if self.num_classes is None else self.num_classes
        if num_classes is not None:
            labels = results['gt_seg_map']
            beyond = labels[(labels >= num_classes) & (labels != IGNORED)]
            if beyond.size:
                raise InputError(_beyond(path, int(beyond.max()), num_classes, results, known is not None))
        return results


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # decoders raise anything on damaged files
        reason = getattr(error, 'strerror', None) or str(error).partition(' <_io')[0] or type(error).__name__
        raise UnreadableImageError(
            f'label image {path!r} cannot be read ({reason}). Replace it, or remove it together with its image.'
        ) from error


def _beyond(path: str, label: int, num_classes: int, results: dict, has_class_list: bool) -> str:
    if not has_class_list:
        return (
            f'label image {path!r} has the label {label}, but there are {num_classes} classes, counted from 0 after '
            'reduce_zero_label. Correct the label, or num_classes.'
        )
    value = label + int(results['reduce_zero_label'])  # as it is in the file
    return (
        f'label image {path!r} has the label {value}, but the dataset has {num_classes} classes, the first of which '
        f'is {value - label}. Add the class to classes.txt, or name the value in ignored_labels of the dataset.'
    )
