"""Data sets of Hugging Face: Parquet or Arrow tables with a column of images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
from mmengine import fileio

from mmbeitv2.datasets.image_dataset import ImageDataset
from mmbeitv2.errors import InputError
from mmbeitv2.registry import DATASETS

if TYPE_CHECKING:
    import datasets

PREFIX = 'mmbeitv2-huggingface'
# The columns of images that addresses refer to, by the fingerprint of the data, as long as a data set holds them.
_columns: WeakValueDictionary[str, datasets.Dataset] = WeakValueDictionary()


class HuggingFaceBackend(fileio.BaseStorageBackend):
    """Reads ``mmbeitv2-huggingface://FINGERPRINT/NAME/ROW``: an image in a table that this process has open."""

    def get(self, filepath: str | Path) -> bytes:
        """The bytes of an image.

        Raises:
            OSError, InputError: if the row is empty, or refers to a file that cannot be read.
        """
        key, _, rest = str(filepath).removeprefix(f'{PREFIX}://').partition('/')
        if key not in _columns:
            raise InputError('its table is not open in this process')
        (image,) = _columns[key][int(rest.rpartition('/')[2])].values()
        if image is None or (image['bytes'] is None and image['path'] is None):
            raise InputError('its row is empty')
        return fileio.get(image['path']) if image['bytes'] is None else image['bytes']

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        return self.get(filepath).decode(encoding)


fileio.register_backend('mmbeitv2.HuggingFaceBackend', HuggingFaceBackend, force=True, prefixes=PREFIX)


@DATASETS.register_module()
class HuggingFaceImages(ImageDataset):
    """The images of a Hugging Face data set, which ``LoadImage`` decodes like those of a folder.

    Needs ``pip install datasets``. Data from the hub and Parquet files are converted once into the cache of that
    library (``HF_HOME``).

    Args:
        path: name on the hub, a folder of ``save_to_disk``, a folder of Parquet files, or a pattern of Parquet files
            such as ``'data/train-*.parquet'``.
        split: ``'train'``, ``'test[:10%]'``, ...
        name: configuration of a data set that has several.
        revision: branch, tag or commit on the hub.
        image_column: column of the images.
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

    def __setstate__(self, state: dict) -> None:  # in a process that was not forked
        self.__dict__.update(state)
        if 'column' in state:
            _columns[self.column._fingerprint] = self.column

    def load_data_list(self) -> list[dict]:
        table = _load(self.path, self.split, self.name, self.revision)
        place = f'data set {self.path!r}, split {self.split!r},'
        if not len(table):
            raise InputError(f'{place} holds no images. Choose another data set or split.')
        self.column = _images(table, self.image_column, place)
        key = self.column._fingerprint
        _columns[key] = self.column
        address = f'{PREFIX}://{key}/{self.path.replace("://", ":/")}/{self.split}'
        samples = [{'img_path': f'{address}/{number}'} for number in range(len(table))]
        if self.label_column is None:
            return samples
        labels = self._labels(table, place)
        return [{**sample, 'gt_label': label} for sample, label in zip(samples, labels.tolist(), strict=True)]

    def _labels(self, table: datasets.Dataset, place: str) -> np.ndarray:
        """The label of each row, (n,) int; their names become the classes if none are set."""
        column = self.label_column
        _require_column(table, column, 'label_column', place)
        feature = table.features[column]
        values = table.select_columns([column]).with_format('arrow')[:].column(column)
        if values.null_count:
            raise InputError(f'{place} has rows without a value in label_column={column!r}. Remove these rows.')
        array = np.asarray(values.to_numpy())
        names = getattr(feature, 'names', None)
        if array.dtype.kind == 'O' and all(isinstance(value, str) for value in array):
            names, array = np.unique(array.astype(str), return_inverse=True)
        if array.dtype.kind not in 'iu' or array.ndim != 1:
            raise InputError(
                f'{place} has no labels in label_column={column!r} ({feature}). Choose a column of whole numbers or '
                'names.'
            )
        if array.min() < 0:
            raise InputError(
                f'{place} has the label {array.min()} in label_column={column!r}, but labels count from 0. Correct '
                'them.'
            )
        if names is not None:
            self.set_classes(list(map(str, names)), place, f'classes in label_column={column!r}')
        return array


def _load(path: str, split: str, name: str | None, revision: str | None) -> datasets.Dataset:
    """One split of a data set.

    Raises:
        InputError: if it cannot be loaded.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f'data set {path!r} needs the package datasets ({error}). Install it with: pip install datasets'
        ) from error
    try:
        is_table, is_dict = (os.path.isfile(os.path.join(path, name)) for name in ('state.json', 'dataset_dict.json'))
        if (name or revision) and (is_table or is_dict or path.endswith('.parquet')):
            raise InputError('only data sets on the hub have a name and a revision, and these are files')
        if is_table or is_dict:
            saved: Any = datasets.load_from_disk(path)
            tables = saved if is_dict else {str(saved.split or 'train'): saved}
            return _part(tables, split)
        if path.endswith('.parquet'):
            return datasets.load_dataset('parquet', data_files=path, split=split)
        return datasets.load_dataset(path, name, split=split, revision=revision)
    except Exception as error:  # of the library, of HTTP, of the file system
        reason = str(error).strip().rstrip('.') or type(error).__name__
        raise InputError(
            f'split {split!r} of data set {path!r} cannot be loaded ({reason}). Correct the path, the name or '
            'the split.'
        ) from error


def _part(tables: dict[str, datasets.Dataset], split: str) -> datasets.Dataset:
    """The rows that a split names, as ``load_dataset`` reads it: ``'train'``, ``'train[:50%]'``, ``'train+test'``."""
    from datasets import ReadInstruction, concatenate_datasets

    sizes = {name: len(table) for name, table in tables.items()}
    parts = ReadInstruction.from_spec(split).to_absolute(sizes)
    return concatenate_datasets([tables[part.splitname].select(range(part.from_, part.to)) for part in parts])


def _images(table: datasets.Dataset, column: str, place: str) -> datasets.Dataset:
    """The column of images alone, undecoded.

    Raises:
        InputError: if there is no such column, or it holds something else.
    """
    from datasets import Image

    _require_column(table, column, 'image_column', place)
    feature = table.features[column]
    is_files = isinstance(feature, dict) and {'bytes', 'path'} <= feature.keys()
    if not (isinstance(feature, Image) or is_files or getattr(feature, 'dtype', '') in ('binary', 'large_binary')):
        raise InputError(
            f'{place} has no images in image_column={column!r} ({feature}). Set image_column to the column of '
            'the images.'
        )
    return table.select_columns([column]).cast_column(column, Image(decode=False)).with_format(None)


def _require_column(table: datasets.Dataset, column: str | None, option: str, place: str) -> None:
    if column not in table.column_names:
        raise InputError(
            f'{place} has no column {column!r}. Set {option} to one of {", ".join(map(repr, table.column_names))}'
        )
