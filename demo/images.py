"""The images that the quickstart uses: the sample set, or a folder of the user."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from demo.sample_set import COUNTS
from mmbeitv2.datasets import find_images
from mmbeitv2.errors import InputError

# Images of a batch of the tokenizer and of pretraining, which the smallest set must fill.
LEAST_IMAGES = 16
# Labeled images of a batch of fine-tuning, which the share of the labels that it sees must fill.
LEAST_LABELED = 32


class Data(NamedTuple):
    """A folder of images."""

    root: Path
    train: str  # folder of the training images in it
    val: str  # folder of the validation images in it
    classes: list[str]  # names of the class folders; empty if the images have no labels
    num_images: int  # for training


def read_data(root: Path) -> Data:
    """Looks at a folder: ``train`` and ``val`` with class folders, or any folder of images.

    Raises:
        InputError: if there are too few images, or the class folders of ``train`` and ``val`` differ.
    """
    if not root.is_dir():
        raise InputError(f'image folder {str(root)!r} not found. Check the path after --data.')
    if not ((root / 'train').is_dir() and (root / 'val').is_dir()):
        data = Data(root, '', '', [], len(find_images(root)))
    else:
        files = [find_images(root / split) for split in ('train', 'val')]
        names = [{Path(file).parts[0] for file in part if len(Path(file).parts) > 1} for part in files]
        if differing := sorted(names[0] ^ names[1]):
            raise InputError(
                f'{str(root)!r} has the class folder {differing[0]!r} in only one of train and val: both need images '
                'of the same classes'
            )
        data = Data(root, 'train', 'val', sorted(names[0]) if len(names[0]) > 1 else [], len(files[0]))
    num_labeled = len(list_labeled(data))
    if data.num_images < LEAST_IMAGES or 0 < num_labeled < LEAST_LABELED:
        raise InputError(
            f'{str(root)!r} has {data.num_images} training images, but the quickstart needs at least {LEAST_IMAGES}; '
            f'with class folders {5 * LEAST_LABELED}, because fine-tuning uses a fifth of them. Add images.'
        )
    return data


def list_labeled(data: Data) -> list[str]:
    """Every fifth training image of each class with its label, which is what fine-tuning may see."""
    lines = []
    for label, name in enumerate(data.classes):
        lines += [f'{name}/{file} {label}\n' for file in find_images(data.root / data.train / name)[::5]]
    return lines


def scaled(epochs: int, data: Data) -> int:
    """Epochs in which a set shows about as many images as the sample set in ``epochs``."""
    return max(1, round(epochs * COUNTS['train'] / data.num_images))
