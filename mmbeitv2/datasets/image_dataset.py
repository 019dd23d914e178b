"""The common base of all image datasets: unreadable images are replaced or reported, and classes are checked."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset

from mmbeitv2.datasets.seeding import SampleIndex
from mmbeitv2.errors import InputError, UnreadableImageError


class ImageDataset(BaseDataset):
    """mmpretrain's ``BaseDataset``, which replaces or reports unreadable images.

    Args:
        max_unreadable: share of the images, in [0, 1), that may be unreadable. Each is reported and replaced by another
            one, which only depends on the seed, the epoch and the index. If more are unreadable, the run stops with a
            list of them.
        kwargs: see ``BaseDataset``.
    """

    def __init__(self, *, max_unreadable: float = 0.0, **kwargs: object) -> None:
        if not 0 <= max_unreadable < 1:
            raise InputError(f'max_unreadable={max_unreadable} must be a share of the images, at least 0 and below 1')
        self.max_unreadable = max_unreadable
        super().__init__(**kwargs)

    def full_init(self) -> None:
        """Like mmengine's, and also creates the list of unreadable images, which the worker processes share."""
        super().full_init()
        if self.max_unreadable > 0:
            self._is_unreadable = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def load_sample(self, index: int) -> dict:
        """What the pipeline gets: the information on an image."""
        return self.get_data_info(index)

    def prepare_data(self, idx: int) -> dict | None:
        """Returns a sample, or another one if its image is unreadable.

        Raises:
            UnreadableImageError: if none may be unreadable.
            InputError: with the list, if more images are unreadable than ``max_unreadable`` allows.
        """
        # Each attempt is the next draw of a generator that the sample alone seeds, so that the run can be repeated.
        key = [idx.seed, idx.epoch, int(idx)] if isinstance(idx, SampleIndex) else [int(idx)]
        generator: np.random.Generator | None = None
        while True:
            try:
                return self.pipeline(self.load_sample(idx))
            except UnreadableImageError as error:
                if self.max_unreadable == 0:
                    message = f'{error} To leave such images out, set max_unreadable of the dataset.'
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
                f'{len(found)} of {len(self)} images cannot be read, which is more than '
                f'max_unreadable={self.max_unreadable} allows. Remove or replace {paths}.'
            )
        print_log(
            f'{error} Another image takes its place ({len(found)} of {len(self)} images are unreadable so far).',
            logger='current',
            level=logging.WARNING,
        )

    def set_classes(self, names: Sequence[str], place: str, kind: str = 'class folders') -> None:
        """Uses the class names of the data if none are set.

        Args:
            names: in the order of the labels.
            place: where the data is, for messages.
            kind: what has these names.

        Raises:
            InputError: if class names are set and their number differs.
        """
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(names)
        elif len(self.CLASSES) != len(names):
            raise InputError(
                f'{place} has {len(names)} {kind}, but {len(self.CLASSES)} classes are set. Set as many, or none.'
            )
