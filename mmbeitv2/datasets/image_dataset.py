"""What all datasets of images have in common: unreadable images are replaced or named, and classes are checked."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset

from mmbeitv2.datasets.seeding import SampleIndex
from mmbeitv2.errors import InputError, UnreadableImageError

# Addresses of images that may be read before processes are forked, which clients of object stores do not bear.
FORKABLE = ('tar://', 'huggingface://')


class Rows(Sequence[dict]):
    """What mmengine keeps of the images of a dataset, made when it is asked for: millions of dicts need much memory."""

    @overload
    def __getitem__(self, index: int) -> dict: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict]: ...

    def __getitem__(self, index: int | slice) -> dict | list[dict]:
        numbers = range(len(self))[index]
        return self.row(numbers) if isinstance(numbers, int) else list(map(self.row, numbers))

    @abstractmethod
    def row(self, number: int) -> dict:
        """The address of an image, ``img_path``, and its ``gt_label`` if it has one."""


class ImageDataset(BaseDataset):
    """mmpretrain's ``BaseDataset`` that replaces or names unreadable images.

    Args:
        max_unreadable: share of the images, in [0, 1), that may be unreadable: each is reported and replaced by
            another, which depends on the seed, the epoch and its index only. Beyond it the run stops with the list.
        kwargs: see ``BaseDataset``.
    """

    def __init__(self, *, max_unreadable: float = 0.0, **kwargs: object) -> None:
        if not 0 <= max_unreadable < 1:
            raise InputError(f'max_unreadable={max_unreadable} is a share of the images and must lie in [0, 1)')
        self.max_unreadable = max_unreadable
        super().__init__(**kwargs)

    def full_init(self) -> None:
        """As mmengine's; then makes the list of unreadable images, which the worker processes share."""
        super().full_init()
        if self.max_unreadable > 0:
            self._is_unreadable = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def prepare_data(self, idx: int) -> dict | None:
        """A sample, or another one in the place of an unreadable image.

        Raises:
            UnreadableImageError: if none may be unreadable.
            InputError: with the list, if more images are unreadable than ``max_unreadable`` allows.
        """
        # Each attempt is the next draw of a generator that the sample alone seeds, so that the run can be repeated.
        key = [idx.seed, idx.epoch, int(idx)] if isinstance(idx, SampleIndex) else [int(idx)]
        generator: np.random.Generator | None = None
        while True:
            try:
                return super().prepare_data(idx)
            except UnreadableImageError as error:
                if self.max_unreadable == 0:
                    message = f'{error}, or set max_unreadable of the dataset to leave such images out'
                    raise UnreadableImageError(message) from error
                self._report(int(idx), error)
            generator = generator or np.random.default_rng(key)
            other = int(generator.integers(len(self)))
            idx = SampleIndex(other, idx.seed, idx.epoch) if isinstance(idx, SampleIndex) else other

    def _report(self, index: int, error: UnreadableImageError) -> None:
        if self._is_unreadable[index]:
            return
        self._is_unreadable[index] = True
        found = self._is_unreadable.nonzero()[:, 0].tolist()
        if len(found) > self.max_unreadable * len(self):
            paths = ', '.join(self.get_data_info(other)['img_path'] for other in found[:100])
            raise InputError(
                f'{len(found)} of {len(self)} images cannot be read, more than max_unreadable={self.max_unreadable} '
                f'allows: remove or replace {paths}'
            )
        print_log(
            f'{error}; another image takes its place ({len(found)} of {len(self)} so far)',
            logger='current',
            level=logging.WARNING,
        )

    def take_classes(self, names: Sequence[str], place: str, kind: str = 'class folders') -> None:
        """Makes the names of the data the names of the classes, where no others are given.

        Args:
            names: in the order of the labels.
            place: of the data, for messages.
            kind: what has these names.

        Raises:
            InputError: if other names are given, and not as many.
        """
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(names)
        elif len(self.CLASSES) != len(names):
            raise InputError(
                f'{place} has {len(names)} {kind}, but {len(self.CLASSES)} classes are given: give as many, or none'
            )
