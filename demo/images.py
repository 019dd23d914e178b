"""The images that the quickstart uses: the sample set, or a folder of the user."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmbeitv2.datasets import find_images
from mmbeitv2.errors import InputError

# Images of the sample set, for which the epochs in the configs are made.
SAMPLE_IMAGES = 6000
# Images of a batch of the tokenizer and of pretraining, which the smallest set must fill.
LEAST_IMAGES = 16
# Labeled images of a batch of fine-tuning, which the share of the labels that it sees must fill.
LEAST_LABELLED = 32
# Label that mmseg leaves out of loss and score.
_IGNORED = 255


@dataclass
class Data:
    """A folder of images.

    Attributes:
        root: folder with ``train`` and ``val``.
        train: folder of the training images in it.
        val: folder of the validation images in it.
        classes: names of the class folders; empty if the images have no labels.
        num_images: training images.
    """

    root: Path
    train: str
    val: str
    classes: list[str]
    num_images: int

    @property
    def folders(self) -> set[Path]:
        """The folders of the images."""
        return {self.root / self.train, self.root / self.val}


@dataclass
class SegmentedData:
    """Segmented images in ADE20K's layout.

    Attributes:
        root: folder with ``images`` and ``annotations``, each with ``training`` and ``validation``.
        num_classes: the largest label; 0 is unlabeled.
    """

    root: Path
    num_classes: int

    @property
    def folders(self) -> set[Path]:
        """The folders of the images and annotations."""
        return {self.root / 'images', self.root / 'annotations'}


def read_data(root: Path) -> Data:
    """Looks at a folder: ``train`` and ``val`` with class folders, or any folder of images.

    Raises:
        InputError: if there is no image, or the class folders of ``train`` and ``val`` differ.
    """
    if not root.is_dir():
        raise InputError(f'image folder {str(root)!r} not found. Check the path after --data.')
    if not ((root / 'train').is_dir() and (root / 'val').is_dir()):
        return Data(root, '', '', [], len(find_images(root)))
    names = {}
    for split in ('train', 'val'):
        files = find_images(root / split)
        names[split] = sorted({Path(file).parts[0] for file in files if len(Path(file).parts) > 1})
        if split == 'train':
            num_images = len(files)
    differing = sorted(set(names['train']) ^ set(names['val']))
    if differing:
        raise InputError(
            f'{str(root)!r} has the class folder {differing[0]!r} in only one of train and val: both need images of '
            'the same classes'
        )
    return Data(root, 'train', 'val', names['train'] if len(names['train']) > 1 else [], num_images)


def list_labeled(data: Data, share: int = 5) -> list[str]:
    """Every ``share``-th training image of each class with its label, which is what fine-tuning may see."""
    lines = []
    for label, name in enumerate(data.classes):
        files = find_images(data.root / data.train / name)
        lines += [f'{name}/{file} {label}\n' for file in files[::share]]
    return lines


def read_segmented(root: Path) -> SegmentedData:
    """Looks at a folder in ADE20K's layout, 0 being unlabeled.

    Raises:
        InputError: if a part of the layout is missing, or an annotation is not a label image.
    """
    import cv2

    for kind in ('images', 'annotations'):
        for split in ('training', 'validation'):
            if not (root / kind / split).is_dir():
                raise InputError(
                    f'folder {str(root / kind / split)!r} not found. --seg-data needs a folder with '
                    'images/{training,validation} and annotations/{training,validation}, as in ADE20K'
                )
    folder = root / 'annotations' / 'training'
    files = sorted(folder.glob('*.png'))
    if not files:
        raise InputError(f'folder {str(folder)!r} holds no annotations. It needs a .png file for each training image.')
    largest = 0
    for path in files:
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if labels is None:
            raise InputError(f'cannot read annotation {str(path)!r}: it is not a PNG image, or is truncated')
        if labels.ndim != 2 or labels.dtype.itemsize != 1:
            raise InputError(
                f'annotation {str(path)!r} is not a label image. It needs one 8-bit channel with 0 for unlabeled '
                'pixels and 1, 2, ... for the classes.'
            )
        largest = max(largest, int(labels[labels != _IGNORED].max(initial=0)))
    if largest == 0:
        raise InputError(
            f'the annotations in {str(folder)!r} have no labels: 0 means unlabeled, and classes count from 1.'
        )
    return SegmentedData(root, largest)


def fingerprint(folders: Iterable[Path]) -> str:
    """Changes whenever an image is added to the folders, removed, renamed or written again."""
    digest = hashlib.sha256()
    for folder in sorted(folders):
        for file in find_images(folder):
            status = (folder / file).stat()
            digest.update(
                f'{folder}\0{file}\0{status.st_size}\0{status.st_mtime_ns}\n'.encode(errors='surrogateescape')
            )
    return digest.hexdigest()


def scaled(epochs: int, data: Data) -> int:
    """Epochs in which a set shows about as many images as the sample set in ``epochs``."""
    return max(1, round(epochs * SAMPLE_IMAGES / data.num_images))
