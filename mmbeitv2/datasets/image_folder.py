"""Any folder of images."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset
from timm.data import ImageNetInfo

from mmbeitv2.datasets.file_backends import is_remote, join, list_files, read_lines
from mmbeitv2.datasets.image_dataset import ImageDataset
from mmbeitv2.errors import InputError
from mmbeitv2.registry import DATASETS

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


def find_images(
    root: str | Path, extensions: Sequence[str] = IMAGE_EXTENSIONS, backend_args: dict | None = None
) -> list[str]:
    """Paths of the image files in a folder of any depth, relative to it, sorted.

    Links to folders are followed. Hidden files and folders, whose names start with a dot, are left out.

    Args:
        root: the folder, or its address for a file backend of mmengine.
        extensions: of the files.
        backend_args: see ``mmengine.fileio.get_file_backend``.

    Raises:
        InputError: if there is no such folder, no image in it, or an endless chain of links.
        OSError: if a folder in it cannot be read.
    """
    files = list_files(str(root), backend_args) if is_remote(str(root)) else _walk(Path(root))
    ends = tuple(extension.lower() for extension in extensions)
    paths = sorted(path for path in files if path.lower().endswith(ends) and '/.' not in f'/{path}')
    if not paths:
        raise InputError(
            f'image folder {str(root)!r} holds no images ({", ".join(sorted(extensions))}). Choose another folder.'
        )
    return paths


def _walk(root: Path) -> Iterator[str]:
    """The files of a folder, without those in hidden folders."""
    if not root.is_dir():
        raise InputError(
            f'image folder {str(root)!r} not found. Correct the path (data_root and data_prefix of a dataset).'
        )
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith('.')]
        for path in (Path(folder, name) for name in folders):
            if path.is_symlink() and path.resolve() in [parent.resolve() for parent in path.parents]:
                raise InputError(f'folder {str(path)!r} is a symbolic link to a folder around it. Remove the link.')
        below = os.path.relpath(folder, root)
        yield from names if below == '.' else (os.path.join(below, name) for name in names)


def image_files(root: Path, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> dict[str, str]:
    """The paths of :func:`find_images`, each with the path by which the image is read."""
    return {path: os.path.join(root, path) for path in find_images(root, extensions)}


def _raise(error: OSError) -> None:
    raise error


@DATASETS.register_module()
class ImageFolder(ImageDataset, CustomDataset):
    """mmpretrain's ``CustomDataset``, without labels by default, which checks what it reads.

    Args:
        data_root: folder of the data, or its address for a file backend of mmengine, such as ``'s3://bucket/data'``.
        data_prefix: folder of the images in ``data_root``, nested to any depth (:func:`find_images`).
        ann_file: list of image paths, one per line, absolute or relative to the folder of the images; empty for all
            images of the folder.
        with_label: take the label from the first folder below, or from the end of each line of ``ann_file``, where it
            follows the last space.
        extensions: of image files, in lower case.
        max_unreadable: see :class:`ImageDataset`.
        backend_args: of the file backend that lists the images and reads ``ann_file``; ``LoadImage`` has its own.
        kwargs: see ``CustomDataset``.

    Raises:
        InputError: names the folder, file or line, if anything is missing or cannot be read.
    """

    ann_file: str
    data_prefix: dict[str, str]

    def __init__(
        self,
        data_root: str = '',
        data_prefix: str | dict = '',
        ann_file: str = '',
        with_label: bool = False,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        max_unreadable: float = 0.0,
        backend_args: dict | None = None,
        **kwargs: object,
    ) -> None:
        self.backend_args = backend_args
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix,
            ann_file=ann_file,
            with_label=with_label,
            extensions=extensions,
            max_unreadable=max_unreadable,
            **kwargs,
        )

    def _join_prefix(self) -> None:
        """As mmengine's, for the prefixes of all file backends."""
        if self.ann_file:
            self.ann_file = join(self.data_root, self.ann_file)
        self.data_prefix = {key: join(self.data_root, prefix) for key, prefix in self.data_prefix.items()}

    def load_data_list(self) -> list[dict]:
        if self.ann_file:
            lines = read_lines(self.ann_file, 'image list', self.backend_args)
            samples = [self._parse(line, number) for number, line in enumerate(lines, 1)]
            if self.max_unreadable == 0:
                self._check_existence([sample['img_path'] for sample in samples])
            return samples
        folder = self.img_prefix
        paths = find_images(folder, self.extensions, self.backend_args)
        places = [join(folder, path) for path in paths]
        if not self.with_label:
            return [{'img_path': place} for place in places]
        number = {name: i for i, name in enumerate(self._find_classes(paths))}
        return [
            {'img_path': place, 'gt_label': number[path.split(os.sep)[0]]}
            for path, place in zip(paths, places, strict=True)
            if os.sep in path
        ]

    def _find_classes(self, paths: list[str]) -> list[str]:
        """Names of the class folders, which become the classes if none are set; reports what has no class."""
        folder = self.img_prefix.rstrip('/')
        place = f'image folder {folder!r}'
        outside = [path for path in paths if os.sep not in path]
        if len(outside) == len(paths):
            raise InputError(
                f'{place} has no class folders with images. Put the images of each class into its own folder, or set '
                'with_label=False. To predict images without labels, use tools/predict.py (docs/guides/predict.md).'
            )
        names = {path.split(os.sep)[0] for path in paths if os.sep in path}
        empty: set[str] = set()
        if not is_remote(folder):  # which has no empty folders
            empty = {path.name for path in os.scandir(folder) if path.is_dir() and path.name[0] != '.'} - names
        for message, found in (
            ('lie outside the class folders and are left out', outside),
            ('hold no images', empty),
        ):
            if found:
                text = f'{len(found)} entries of {place} {message}: {", ".join(sorted(found)[:5])}'
                print_log(text, logger='current', level=logging.WARNING)
        classes = sorted(names | empty)
        self.set_classes(classes, place)
        return classes

    def _parse(self, line: str, number: int) -> dict:
        """A line of ``ann_file``."""
        if not self.with_label:
            return {'img_path': join(self.img_prefix, line)}
        where = f'line {number} of image list {self.ann_file!r}'
        path, _, label = line.rpartition(' ')
        if not path:
            raise InputError(f'{where}, {line[:99]!r}, has no label. Write the path, a space and the label.')
        if not (label.isascii() and label.isdigit() and len(label) < 10):
            raise InputError(
                f'{where} ends with {label[:99]!r}, which is not a label. Write a whole number that is not negative.'
            )
        if self.CLASSES is not None and int(label) >= len(self.CLASSES):
            raise InputError(
                f'{where} has the label {label}, but there are {len(self.CLASSES)} classes, counted from 0'
            )
        return {'img_path': join(self.img_prefix, path.rstrip()), 'gt_label': int(label)}

    def _check_existence(self, paths: list[str]) -> None:
        """Lists each folder once, which is much faster than a look at every file."""
        names: dict[str, set[str]] = {}
        for number, path in enumerate(paths, 1):
            folder, name = os.path.split(path)
            if folder not in names:
                names[folder] = set(os.listdir(folder or '.')) if os.path.isdir(folder or '.') else set()
            if name not in names[folder] and not is_remote(path):
                raise InputError(
                    f'image {path!r} in line {number} of image list {self.ann_file!r} not found. Correct the '
                    'line, or data_root and data_prefix.'
                )


@DATASETS.register_module()
class ImageNetVariant(ImageFolder):
    """Images of some or all classes of ImageNet-1k, in folders named by synset: ImageNet-A, -R, -Sketch, -V2.

    Labels are those of ImageNet-1k, 0 to 999 in the order of the synsets. ``metainfo['class_indices']`` lists the
    classes that occur, which :class:`mmbeitv2.SubsetAccuracy` restricts the scores to (paper, section 3.2, robustness).

    Args:
        kwargs: see :class:`ImageFolder`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(with_label=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        data_list = super().load_data_list()
        numbers = {synset: number for number, synset in enumerate(ImageNetInfo('imagenet-1k').label_names())}
        folders = self._metainfo['classes']
        unknown = [folder for folder in folders if folder not in numbers]
        if unknown:
            raise InputError(
                f'folder {unknown[0]!r} in {str(self.img_prefix)!r} is not a synset of ImageNet-1k ({len(unknown)} '
                f'of {len(folders)} folders are not). Name the folders like n01498041, and pass the folder that '
                'holds them.'
            )
        self._metainfo['class_indices'] = [numbers[folder] for folder in folders]
        for sample in data_list:
            sample['gt_label'] = numbers[folders[sample['gt_label']]]
        return data_list
