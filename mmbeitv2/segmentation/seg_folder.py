"""Any folder of images with label images."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from mmengine.dataset import BaseDataset

from mmbeitv2.datasets.file_backends import read_lines
from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS, find_images
from mmbeitv2.errors import InputError
from mmbeitv2.registry import DATASETS
from mmbeitv2.segmentation.seg_labels import IGNORED, read_label_table


@DATASETS.register_module()
class SegFolder(BaseDataset):
    """Images and label images with matching names, in two folders or in one.

    Like mmseg's ``BaseSegDataset``, but images may have any extension, class names may come from a text file, and a
    missing label image is found when the folder is listed. The label of ``photos/a/1.jpg`` is ``labels/a/1.png``.

    Args:
        data_root: folder of the data.
        data_prefix: folders of the images, ``img_path``, and of the label images, ``seg_map_path``, in ``data_root``,
            nested to any depth.
        ann_file: list of image paths, one per line, relative to the folder of the images, with or without extension;
            empty for all images of the folder. A line may name the label image too, after a comma, relative to the
            folder of the label images; it may then have any name and extension.
        classes: names in the order of their labels, or a text file with one name per line (:func:`read_class_names`),
            relative to ``data_root``; None for ``classes.txt``. :class:`LoadSegLabels` checks the labels against their
            number, which each sample has as ``num_classes``.
        label_table: file with the class of each value or color of the label images (:func:`read_label_table`), relative
            to ``data_root``; it takes the place of ``classes``, ``reduce_zero_label`` and ``ignored_labels``. None if
            the values are class numbers.
        seg_map_suffix: ending of the name of a label image; it replaces the extension of the image.
        reduce_zero_label: whether 0 means "ignored" and the classes are numbered from 1.
        extensions: of image files, in lower case.
        ignored_labels: values of the label images that mean "ignored", in addition to 255.
        kwargs: see mmengine's ``BaseDataset``.

    ``metainfo`` has ``classes``, ``palette``, and ``label_values``, the value of each class in the
    label images (its number, if they show colors).

    Raises:
        InputError: names the file, folder or line if anything is missing or cannot be read, or settings that do not go
            together.
    """

    def __init__(
        self,
        data_root: str,
        classes: str | Sequence[str] | None = None,
        data_prefix: dict | None = None,
        ann_file: str = '',
        seg_map_suffix: str = '.png',
        reduce_zero_label: bool = False,
        ignored_labels: Sequence[int] | None = None,
        label_table: str | None = None,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        **kwargs: object,
    ) -> None:
        self.table = None if label_table is None else read_label_table(os.path.join(data_root, label_table))
        if self.table is not None:
            if classes or reduce_zero_label or ignored_labels:
                raise InputError(
                    f'label_table={label_table!r} already says which classes there are and what is ignored. Leave out '
                    'classes, reduce_zero_label and ignored_labels.'
                )
            classes = self.table.classes
        elif classes is None or isinstance(classes, str):
            classes = read_class_names(os.path.join(data_root, classes or 'classes.txt'))
        values = [number + int(reduce_zero_label) for number in range(len(classes))]
        if self.table is not None and not self.table.is_color:
            values = self.table.first_values
        self.seg_map_suffix = seg_map_suffix
        self.extensions = extensions
        self.reduce_zero_label = reduce_zero_label
        # mmseg maps labels after it has reduced them.
        self.label_map = {label - int(reduce_zero_label): IGNORED for label in ignored_labels or ()} or None
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix or dict(img_path='images', seg_map_path='labels'),
            ann_file=ann_file,
            metainfo=dict(
                classes=tuple(classes),
                palette=(self.table and self.table.colors) or distinct_colors(len(classes)),
                label_values=values,
            ),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        images, labels = (Path(self.data_prefix[key]) for key in ('img_path', 'seg_map_path'))
        paths = find_images(images, self.extensions)
        if images.resolve() == labels.resolve() and not self.ann_file:
            paths = [path for path in paths if not path.endswith(self.seg_map_suffix)]
        pairs = self._listed(paths) if self.ann_file else [(path, self._label_of(path)) for path in paths]
        extensions = {os.path.splitext(label)[1] for _, label in pairs} | {self.seg_map_suffix}
        there = set(find_images(labels, tuple(extensions)))
        samples: list[dict] = []
        for path, label in pairs:
            if label not in there:
                raise InputError(
                    f'image {str(images / path)!r} has no label image {str(labels / label)!r}. Add it, or remove the '
                    'image. To predict images without labels, use tools/predict.py (docs/guides/predict.md).'
                )
            samples.append(
                {
                    'img_path': str(images / path),
                    'seg_map_path': str(labels / label),
                    'label_map': self.label_map,
                    'reduce_zero_label': self.reduce_zero_label,
                    'num_classes': len(self.metainfo['classes']),
                    'seg_fields': [],
                    **({} if self.table is None else {'label_table': self.table}),
                }
            )
        return samples

    def _label_of(self, path: str) -> str:
        return os.path.splitext(path)[0] + self.seg_map_suffix

    def prepare_data(self, idx: int) -> Any:
        """A sample, as mmengine's.

        Raises:
            InputError: naming the image of which a transform leaves nothing, for example because it is one pixel high.
        """
        try:
            return super().prepare_data(idx)
        except cv2.error as error:
            raise InputError(
                f'image {self.get_data_info(idx)["img_path"]!r} does not pass the pipeline ({str(error).strip()}). If '
                'it is very elongated, remove it or cut it into pieces.'
            ) from error

    def _listed(self, paths: list[str]) -> list[tuple[str, str]]:
        """The images that ``ann_file`` names, each with its label image."""
        by_name = {os.path.splitext(path)[0]: path for path in paths} | {path: path for path in paths}
        chosen = []
        for number, line in enumerate(read_lines(self.ann_file, 'image list'), 1):
            # A comma may belong to the name of an image.
            name, _, label = (line, '', '') if line in by_name else (part.strip() for part in line.partition(','))
            if name not in by_name:
                raise InputError(
                    f'line {number} of image list {self.ann_file!r} names {name[:99]!r}, which is not an image '
                    f'({", ".join(self.extensions)}) in {self.data_prefix["img_path"]!r}. Correct or remove the line.'
                )
            chosen.append((by_name[name], label or self._label_of(by_name[name])))
        return chosen


def read_class_names(path: str | Path) -> tuple[str, ...]:
    """Reads class names from a text file, one per line, in the order of their labels.

    Raises:
        InputError: if the file cannot be read, is empty, contains an empty line or a name twice, or has more than 255
            names.
    """
    names = read_lines(str(path), 'class list')
    for number, name in enumerate(names, 1):
        if name in names[: number - 1]:
            raise InputError(
                f'line {number} of class list {str(path)!r} repeats {name!r} of line {names.index(name) + 1}. Give '
                'each class a different name.'
            )
    if len(names) > IGNORED:
        raise InputError(
            f'class list {str(path)!r} has {len(names)} names, but a label image can hold at most {IGNORED} classes '
            f'({IGNORED} means "ignored"). Leave some out.'
        )
    return tuple(names)


def distinct_colors(count: int) -> list[list[int]]:
    """RGB colors in [0, 255] that are easy to distinguish; the first ones do not depend on the count."""
    golden = (5**0.5 - 1) / 2
    shades = ((1.0, 0.9), (0.6, 1.0), (0.9, 0.6))
    colors = [colorsys.hsv_to_rgb(i * golden % 1, *shades[i % len(shades)]) for i in range(count)]
    return [[round(255 * channel) for channel in color] for color in colors]
