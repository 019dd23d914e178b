"""Reads the labels of segmentation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmbeitv2.datasets.file_backends import read_file, read_lines
from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.registry import TRANSFORMS

IGNORED = 255
# Gray and palette, of whose pixels the indices are read, and black and white.
_INDEX_MODES = ('L', 'P', '1')
_WIDE_MODES = (*_INDEX_MODES, 'I', 'I;16', 'I;16B', 'I;16L')
_COLOR_MODES = ('RGB', 'RGBA', 'P')
# The class of a value or color whose pixels are ignored.
NO_CLASS = '-'


def reduces_zero_label(dataset: dict, kind: object) -> bool:
    """Whether a dataset counts its labels from 1, with 0 ignored: by its settings, or by the default of its class."""
    default = inspect.signature(kind).parameters.get('reduce_zero_label') if isinstance(kind, type) else None
    return bool(dataset.get('reduce_zero_label', default is not None and default.default is True))


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
        label_table: file with the class of each value or color of the label images (:func:`read_label_table`); None for
            the table that the dataset gives, as :class:`SegFolder` does, or else for values that are class numbers.
        backend_args: of the file backend, see ``mmengine.fileio.get``.

    Raises:
        UnreadableImageError: if the file is missing, truncated, or not an image.
        InputError: if it has another size than the image, several channels, more than eight bits, a label beyond the
            classes, or with ``label_table`` a value or color that the table does not list; or if the table has another
            number of classes.
    """

    def __init__(
        self, num_classes: int | None = None, label_table: str | None = None, backend_args: dict | None = None
    ) -> None:
        if num_classes is not None and not 1 <= num_classes <= IGNORED:
            raise InputError(f'num_classes={num_classes} must lie between 1 and {IGNORED}, or be None')
        self.num_classes = num_classes
        self.table = None if label_table is None else read_label_table(label_table)
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        path = str(results['seg_map_path'])
        num_classes = results.get('num_classes') if self.num_classes is None else self.num_classes
        if (table := self.table or results.get('label_table')) is not None:
            if num_classes not in (None, len(table.classes)):
                raise InputError(
                    f'label table {table.path!r} has {len(table.classes)} classes, not num_classes={num_classes} of '
                    'LoadSegLabels or of the dataset. Correct one of them.'
                )
            results['gt_seg_map'] = table.classes_of(path, results.get('ori_shape'), self.backend_args)
            results['seg_fields'].append('gt_seg_map')
            return results
        labels = read_labels(path, results.get('ori_shape'), self.backend_args)
        if results['reduce_zero_label']:
            labels = np.where((labels == 0) | (labels == IGNORED), IGNORED, labels - 1).astype(np.uint8)
        if label_map := results.get('label_map'):
            labels = np.array([label_map.get(label, label) for label in range(256)], np.uint8)[labels]
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


@dataclass(frozen=True)
class LabelTable:
    """The class of each value or color of label images.

    Args:
        path: file that it was read from.
        classes: names, in the order of their numbers.
        numbers: number of the class, or 255 for none, by value; of a color, the value is ``(R * 256 + G) * 256 + B``.
        is_color: whether the label images show colors.
    """

    path: str
    classes: tuple[str, ...]
    numbers: dict[int, int]
    is_color: bool

    @property
    def first_values(self) -> list[int]:
        """The first value of each class."""
        return [next(value for value, each in self.numbers.items() if each == i) for i in range(len(self.classes))]

    @property
    def colors(self) -> list[list[int]] | None:
        """The first color of each class, RGB; None if the label images have values."""
        return [list(_rgb(value)) for value in self.first_values] if self.is_color else None

    def classes_of(self, path: str, shape: tuple[int, ...] | None, backend_args: dict | None = None) -> np.ndarray:
        """Class numbers (H, W) uint8 of a label image; see ``read_labels`` for the arguments and errors.

        Raises:
            InputError: naming a value or color that is not in the table.
        """
        values = read_labels(path, shape, backend_args, _COLOR_MODES if self.is_color else _WIDE_MODES)
        found, places = np.unique(values, return_inverse=True)
        known = self.numbers if self.is_color else {IGNORED: IGNORED, **self.numbers}
        missing = [value for value in found.tolist() if value not in known]
        if missing:
            kind = 'color' if self.is_color else 'value'
            written = ' '.join(map(str, _rgb(missing[0]))) if self.is_color else str(missing[0])
            raise InputError(
                f'label image {path!r} has the {kind} {written}, which {self.path!r} does not list. Add the line '
                f'"{written}, CLASS" to it, or "{written}, {NO_CLASS}" to ignore these pixels.'
            )
        return np.array([known[value] for value in found.tolist()], np.uint8)[places].reshape(values.shape)


def _rgb(value: int) -> tuple[int, int, int]:
    return value >> 16, value >> 8 & 255, value & 255


def read_label_table(path: str) -> LabelTable:
    """Reads the classes of label images: a text file with a line ``VALUE, CLASS`` or ``R G B, CLASS`` for each value.

    Several values may have one class. The classes are numbered in the order in which they first appear. Pixels whose
    class is ``-`` are ignored, as are those of the value 255 where no line gives it a class.

    Raises:
        InputError: naming the line, if the file cannot be read, a line has another form, values and colors are mixed, a
            value occurs twice, or there are not 1 to 255 classes.
    """
    numbers: dict[int, int] = {}
    classes: dict[str, int] = {}
    is_color = None
    for number, line in enumerate(read_lines(path, 'label table'), 1):
        label, _, name = (part.strip() for part in line.partition(','))
        parts = [int(part) for part in label.split()] if re.fullmatch(r'\d{1,5}( +\d{1,3} +\d{1,3})?', label) else []
        if (
            not name
            or re.match(r'\d+ *,', name)
            or len(parts) not in (1, 3)
            or max(parts) > (255 if len(parts) == 3 else 65535)
        ):
            raise InputError(
                f'line {number} of label table {path!r}, {line[:99]!r}, has neither the form "VALUE, CLASS" with a '
                'value from 0 to 65535 nor "R G B, CLASS" with colors from 0 to 255. Write, for example, "7, road" or '
                '"128 64 128, road".'
            )
        if is_color not in (None, len(parts) == 3):
            raise InputError(
                f'line {number} of label table {path!r} mixes values and colors. Use the same kind in all lines.'
            )
        is_color = len(parts) == 3
        value = (parts[0] << 16) + (parts[1] << 8) + parts[2] if is_color else parts[0]
        if value in numbers:
            raise InputError(f'line {number} of label table {path!r} gives {label} a class again. Remove one line.')
        numbers[value] = IGNORED if name == NO_CLASS else classes.setdefault(name, len(classes))
    if not 1 <= len(classes) <= IGNORED:
        raise InputError(f'label table {path!r} has {len(classes)} classes. Name 1 to {IGNORED}.')
    return LabelTable(path, tuple(classes), numbers, bool(is_color))


def read_labels(
    path: str,
    shape: tuple[int, ...] | None = None,
    backend_args: dict | None = None,
    modes: tuple[str, ...] = _INDEX_MODES,
) -> np.ndarray:
    """Reads a label image, (H, W): uint8 of class numbers; or int64 of wider values or colors, see :class:`LabelTable`.

    Args:
        path: of an image file with one channel of 8 bits, or with a palette, of which the indices are taken.
        shape: (H, W) that it must have; None for any.
        backend_args: of the file backend, see ``mmengine.fileio.get``.
        modes: Pillow's modes of the pixels that are accepted.

    Raises:
        UnreadableImageError: if the file is missing, truncated, or not an image.
        InputError: if its pixels have another mode, or it has another size.
    """
    with _reading(path):
        image = Image.open(BytesIO(read_file(path, backend_args)))
    # Both are known from the header, before memory is taken for the pixels.
    if image.mode not in modes:
        expected = {
            _INDEX_MODES: 'It must have one 8-bit channel that holds the class number of each pixel; values of 16 bits '
            'and colors need a label table (label_table=FILE).',
            _WIDE_MODES: 'With values in the label table, it must have one channel of whole numbers.',
            _COLOR_MODES: 'With colors in the label table, it must be an RGB image or have a palette.',
        }
        raise InputError(f'label image {path!r} has pixels of Pillow mode {image.mode!r}. {expected[modes]}')
    if shape is not None and (image.height, image.width) != tuple(shape):
        raise InputError(
            f'label image {path!r} has {image.width}x{image.height} pixels, but its image has {shape[1]}x{shape[0]}. '
            'Both must have the same size.'
        )
    with _reading(path):
        if modes is _INDEX_MODES:
            return np.array(image, np.uint8)
        if modes is _WIDE_MODES:
            return np.array(image, np.int64)
        return np.array(image.convert('RGB'), np.int64) @ (1 << 16, 1 << 8, 1)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # decoders raise anything on damaged files
        reason = getattr(error, 'strerror', None) or str(error).partition(' <_io')[0] or type(error).__name__
        raise UnreadableImageError(
            f'label image {path!r} cannot be read ({reason}). Replace it, or remove it together with its image.'
        ) from error
