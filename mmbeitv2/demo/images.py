"""The images that the quickstart works on: the sample set, or a folder of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS
from mmbeitv2.errors import InputError

# Images of the sample set, for which the epochs in the configs are made.
SAMPLE_IMAGES = 6000


@dataclass
class Data:
    """Where images come from, and what is known of them.

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


def read_data(root: Path) -> Data:
    """Looks at a folder: ``train`` and ``val`` with class folders, or any folder of images.

    Raises:
        InputError: if there is no image.
    """
    if not root.is_dir():
        raise InputError(f'image folder {str(root)!r} not found: give an existing one by --data DIR')
    has_splits = (root / 'train').is_dir() and (root / 'val').is_dir()
    train = root / 'train' if has_splits else root
    num_images = sum(path.suffix.lower() in IMAGE_EXTENSIONS for path in train.rglob('*'))
    if num_images == 0:
        raise InputError(
            f'image folder {str(train)!r} holds no image ({", ".join(IMAGE_EXTENSIONS)}): give another folder by '
            '--data DIR'
        )
    classes = sorted(path.name for path in train.iterdir() if path.is_dir()) if has_splits else []
    if has_splits and classes != sorted(path.name for path in (root / 'val').iterdir() if path.is_dir()):
        raise InputError(f'{str(root)!r} has other class folders in train than in val: make them the same')
    return Data(
        root,
        'train' if has_splits else '',
        'val' if has_splits else '',
        classes if len(classes) > 1 else [],
        num_images,
    )


def write_labelled(data: Data, out: Path, share: int = 5) -> None:
    """Lists every ``share``-th training image of each class with its label: what fine-tuning may see."""
    lines = []
    for label, name in enumerate(data.classes):
        files = sorted(
            path for path in (data.root / data.train / name).rglob('*') if path.suffix.lower() in IMAGE_EXTENSIONS
        )
        lines += [f'{path.relative_to(data.root / data.train)} {label}\n' for path in files[::share]]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(''.join(lines))


def count_classes(root: Path) -> int:
    """Number of classes of a folder in ADE20K's layout, 0 being unlabelled.

    Raises:
        InputError: if a part of the layout is missing.
    """
    import cv2

    for kind in ('images', 'annotations'):
        for split in ('training', 'validation'):
            if not (root / kind / split).is_dir():
                raise InputError(
                    f'folder {str(root / kind / split)!r} not found: --seg-data wants the layout of ADE20K'
                )
    files = sorted((root / 'annotations' / 'training').glob('*.png'))
    if not files:
        raise InputError(f'folder {str(root / "annotations" / "training")!r} holds no .png annotation: put some there')
    largest = 0
    for path in files:
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if labels is None:
            raise InputError(f'annotation {str(path)!r} cannot be read: mend or remove it')
        largest = max(largest, int(labels.max()))
    return largest


def scaled(epochs: int, data: Data) -> int:
    """Epochs in which a set shows about as many images as the sample set in ``epochs``."""
    return max(1, round(epochs * SAMPLE_IMAGES / data.num_images))
