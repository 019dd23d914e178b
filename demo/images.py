"""The images that the quickstart uses: the sample set, or a folder of the user."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from demo.sample_set import COUNTS
from mmbeitv2.datasets import find_images
from mmbeitv2.errors import InputError

# Images of a batch of the tokenizer and of pretraining, which the smallest set must fill.
LEAST_IMAGES = 16
# Labeled images of a batch of fine-tuning, which the share of the labels that it sees must fill.
LEAST_LABELLED = 32
# Label that mmseg leaves out of loss and score.
_IGNORED = 255


@dataclass
class Data:
    """A folder of images."""

    root: Path
    train: str  #: folder of the training images in it
    val: str  #: folder of the validation images in it
    classes: list[str]  #: names of the class folders; empty if the images have no labels
    num_images: int  #: for training

    @property
    def folders(self) -> set[Path]:
        """The folders of the images."""
        return {self.root / self.train, self.root / self.val}


@dataclass
class SegmentedData:
    """Segmented images in ADE20K's layout."""

    root: Path  #: folder with ``images`` and ``annotations``, each with ``training`` and ``validation``
    num_classes: int  #: the largest label; 0 is unlabeled

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
    files = [find_images(root / split) for split in ('train', 'val')]
    names = [{Path(file).parts[0] for file in part if len(Path(file).parts) > 1} for part in files]
    if differing := sorted(names[0] ^ names[1]):
        raise InputError(
            f'{str(root)!r} has the class folder {differing[0]!r} in only one of train and val: both need images of '
            'the same classes'
        )
    return Data(root, 'train', 'val', sorted(names[0]) if len(names[0]) > 1 else [], len(files[0]))


def require_enough(data: Data) -> None:
    """Refuses images that fill no batch.

    Raises:
        InputError: says how many there must be.
    """
    if data.num_images < LEAST_IMAGES:
        raise InputError(
            f'{str(data.root)!r} has {data.num_images} training images, but the quickstart needs at least '
            f'{LEAST_IMAGES}. Add images.'
        )
    if data.classes and (num_labeled := len(list_labeled(data))) < LEAST_LABELLED:
        raise InputError(
            f'{str(data.root)!r} has class folders, and fine-tuning uses every fifth image of each class of train: '
            f'{num_labeled} images, but it needs at least {LEAST_LABELLED}. Add images, or give a folder without '
            'class folders.'
        )


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
    files = [folder / file for folder in sorted(folders) for file in find_images(folder)]
    found = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(found).encode(errors='surrogateescape')).hexdigest()


def scaled(epochs: int, data: Data) -> int:
    """Epochs in which a set shows about as many images as the sample set in ``epochs``."""
    return max(1, round(epochs * COUNTS['train'] / data.num_images))
