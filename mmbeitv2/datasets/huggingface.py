"""Data sets of Hugging Face: Parquet or Arrow tables with a column of images."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from mmbeitv2.datasets.image_dataset import ImageDataset
from mmbeitv2.errors import InputError
from mmbeitv2.registry import DATASETS

if TYPE_CHECKING:
    import datasets


@DATASETS.register_module()
class HuggingFaceImages(ImageDataset):
    """The images of a Hugging Face data set, which ``LoadImage`` decodes like those of a folder.

    Needs ``pip install datasets``. Data from the hub and Parquet files are converted once into the cache of that
    library (``HF_HOME``).

    Args:
        path: name on the hub, a folder of ``save_to_disk``, a folder of Parquet files, or a pattern of Parquet files
            such as ``'data/train-*.parquet'``.
        split: ``'train'``, ``'test[:10%]'``, ...
        name: configuration of a data set on the hub that has several.
        revision: branch, tag or commit on the hub.
        image_column: column of the images, as bytes or as paths.
        label_column: column of the labels, whole numbers or names; None for no labels.
        max_unreadable: see :class:`ImageDataset`.
        kwargs: see mmpretrain's ``BaseDataset``.

    Raises:
        InputError: if the library, the data set, the split or a column is missing, or a column does not have the right
            type.
    """

    def __init__(
        self,
        path: str,
        split: str = 'train',
        name: str | None = None,
        revision: str | None = None,
        image_column: str = 'image',
        label_column: str | None = None,
        max_unreadable: float = 0.0,
        **kwargs: object,
    ) -> None:
        self.path, self.split, self.name, self.revision = path, split, name, revision
        self.image_column, self.label_column = image_column, label_column
        super().__init__(ann_file='', max_unreadable=max_unreadable, **kwargs)

    def load_data_list(self) -> list[dict]:
        place = f'split {self.split!r} of data set {self.path!r}'
        try:
            from datasets import Image

            table = _load(self.path, self.split, self.name, self.revision)
            images = table.select_columns([self.image_column])
            self.images = images.cast_column(self.image_column, Image(decode=False)).with_format(None)
            labels = None if self.label_column is None else table.select_columns([self.label_column])
        except ImportError as error:
            raise InputError(
                f'{place} needs the package datasets ({error}). Install it: pip install datasets'
            ) from error
        except Exception as error:  # of the library, of HTTP, of the file system
            reason = ' '.join(str(error).split()).rstrip('.') or type(error).__name__
            raise InputError(
                f'{place} cannot be loaded ({reason}). Correct the path, the name, the split or the column.'
            ) from error
        if not len(table):
            raise InputError(f'{place} holds no images. Choose another data set or split.')
        samples: list[dict] = [{'img_path': f'{self.path}/{self.split}/{row}', 'row': row} for row in range(len(table))]
        if labels is not None:
            for sample, label in zip(samples, self._read_labels(labels, place), strict=True):
                sample['gt_label'] = label
        return samples

    def load_sample(self, index: int) -> dict:
        """The information on an image, with the bytes of its file, or with the path of a file that the table names."""
        info = self.get_data_info(index)
        image = self.images[info['row']][self.image_column] or {'bytes': b'', 'path': None}
        if image['bytes'] is None and image['path'] is not None:
            return info | {'img_path': image['path']}
        return info | {'img_bytes': image['bytes'] or b''}

    def _read_labels(self, table: datasets.Dataset, place: str) -> list[int]:
        """The label of each row; their names become the classes if none are set."""
        feature = table.features[self.label_column]
        names = getattr(feature, 'names', None)
        labels = np.asarray(table.with_format('arrow')[:].column(0).to_numpy())
        if labels.dtype.kind == 'O' and all(isinstance(label, str) for label in labels):
            names, labels = np.unique(labels.astype(str), return_inverse=True)
        if labels.dtype.kind not in 'iu' or labels.min() < 0:
            raise InputError(
                f'{place} has rows without a label in label_column={self.label_column!r} ({feature}). Choose a column '
                'of names, or of whole numbers that count from 0.'
            )
        if names is not None:
            self.set_classes(list(map(str, names)), place, f'classes in label_column={self.label_column!r}')
        return labels.tolist()


def _load(path: str, split: str, name: str | None, revision: str | None) -> datasets.Dataset:
    """One split of a data set."""
    from datasets import ReadInstruction, concatenate_datasets, load_dataset, load_from_disk

    if path.endswith('.parquet'):
        return load_dataset('parquet', data_files=path, split=split)
    is_dict = os.path.isfile(os.path.join(path, 'dataset_dict.json'))
    if not is_dict and not os.path.isfile(os.path.join(path, 'state.json')):
        return load_dataset(path, name, split=split, revision=revision)
    saved: Any = load_from_disk(path)
    tables = saved if is_dict else {str(saved.split or 'train'): saved}
    # As load_dataset reads the name of a split: 'train', 'train[:50%]', 'train+test'.
    parts = ReadInstruction.from_spec(split).to_absolute({key: len(table) for key, table in tables.items()})
    return concatenate_datasets([tables[part.splitname].select(range(part.from_, part.to)) for part in parts])
