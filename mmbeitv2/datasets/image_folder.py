"""Any folder of images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset
from timm.data import ImageNetInfo

from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.registry import DATASETS

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


def find_images(root: Path) -> list[str]:
    """Paths of the image files in a folder of any depth, relative to it, in order.

    Raises:
        InputError: if there is no such folder, or no image in it.
    """
    if not root.is_dir():
        raise InputError(f'image folder {str(root)!r} not found: give an existing one')
    paths = sorted(str(path.relative_to(root)) for path in root.rglob('*') if path.suffix.lower() in IMAGE_EXTENSIONS)
    if not paths:
        raise InputError(f'image folder {str(root)!r} holds no image ({", ".join(IMAGE_EXTENSIONS)}): give another')
    return paths


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """mmpretrain's ``CustomDataset``, unlabelled by default, that says in a sentence when there is nothing to read.

    Args:
        data_root: folder of the data.
        data_prefix: folder of the images in ``data_root``, nested to any depth.
        ann_file: list of image paths, one a line; empty for all images of the folder.
        with_label: take the label from the first folder below, or from the end of each line of ``ann_file``.
        extensions: of image files, in small letters.
        max_unreadable: share of the images, in [0, 1), that may be unreadable: each is reported and replaced by
            another. Beyond it the run stops with the list.
        kwargs: see ``CustomDataset``.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: str | dict = '',
        ann_file: str = '',
        with_label: bool = False,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        max_unreadable: float = 0.0,
        **kwargs: object,
    ) -> None:
        self.max_unreadable = max_unreadable
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix,
            ann_file=ann_file,
            with_label=with_label,
            extensions=extensions,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        folder = Path(self.img_prefix)
        if '://' not in str(self.img_prefix):
            if not folder.is_dir():
                raise InputError(
                    f'image folder {str(folder)!r} not found: give an existing one by --cfg-options '
                    'train_dataloader.dataset.data_root=DIR'
                )
            if self.ann_file and not Path(self.ann_file).is_file():
                raise InputError(
                    f'image list {self.ann_file!r} not found: give an existing file, or leave ann_file out to read '
                    'the whole folder'
                )
        try:
            return super().load_data_list()
        except RuntimeError as error:
            raise InputError(
                f'image folder {str(folder)!r} holds no image ({", ".join(sorted(self.extensions))}): put some '
                'there, or give another folder'
            ) from error

    def full_init(self) -> None:
        """As mmengine's; then makes the list of unreadable images, which the worker processes share."""
        super().full_init()
        if self.max_unreadable > 0:
            self._is_unreadable = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def prepare_data(self, idx: int) -> dict | None:
        """A sample, or None for an unreadable image, in whose place mmengine then takes another.

        Raises:
            InputError: with the list, if more images are unreadable than ``max_unreadable`` allows.
        """
        try:
            return super().prepare_data(idx)
        except UnreadableImageError as error:
            if self.max_unreadable <= 0:
                raise
            if not self._is_unreadable[idx]:
                self._is_unreadable[idx] = True
                self._report(error)
            return None

    def _report(self, error: UnreadableImageError) -> None:
        found = self._is_unreadable.nonzero()[:, 0].tolist()
        if len(found) > self.max_unreadable * len(self):
            paths = ', '.join(self.get_data_info(index)['img_path'] for index in found)
            raise InputError(
                f'{len(found)} of {len(self)} images cannot be read, more than max_unreadable={self.max_unreadable} '
                f'allows: mend or remove {paths}'
            )
        print_log(
            f'{error}; another image takes its place ({len(found)} of {len(self)} so far)',
            logger='current',
            level=logging.WARNING,
        )


@DATASETS.register_module()
class ImageNetVariant(ImageFolder):
    """Images of some or all classes of ImageNet-1k, in folders named by synset: ImageNet-A, -R, -Sketch, -V2.

    Labels are those of ImageNet-1k, 0 to 999 in the order of the synsets; ``metainfo['class_indices']`` lists the
    classes that there are, over which :class:`mmbeitv2.SubsetAccuracy` scores (paper, section 3.2, robustness).

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
                f'folder {unknown[0]!r} in {str(self.img_prefix)!r} is no synset of ImageNet-1k ({len(unknown)} of '
                f'{len(folders)} folders): name the folders as n01498041, and give the one that holds them'
            )
        self._metainfo['class_indices'] = [numbers[folder] for folder in folders]
        for sample in data_list:
            sample['gt_label'] = numbers[folders[sample['gt_label']]]
        return data_list
