"""Writes the codes of all images of a folder, or of shards, to a file."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmbeitv2.datasets.shards import size_and_time
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import open_atomically, write_atomically
from mmbeitv2.fileio.folders import claim_folder, remove_folder, require_removable
from mmbeitv2.inference.visual_tokenizer import VisualTokenizer
from mmbeitv2.layers import fingerprint

# Name in the mark of the folder of unfinished work, and the files in it.
_TOOL = 'tokenize_images.py'
_FILES = ('codes.npy', 'done.npy', 'images.npz', 'earlier.npz', 'made_by.json')
# Parts of a tokenizer's config that its codes do not depend on; the teacher of k-means is known by the weights.
_NOT_FOR_CODES = ('teacher', 'decoder', 'data_preprocessor', 'init_cfg', 'target_dims')


def made_by(cfg: Config, tokenizer: VisualTokenizer, root: Path) -> dict[str, str]:
    """What the codes of the images in ``root`` depend on besides the images."""
    settings = cfg.model.get('tokenizer', cfg.model)  # of a pretraining, or of the tokenizer itself
    settings = {name: value for name, value in settings.items() if name not in _NOT_FOR_CODES}
    found = {
        'weights': fingerprint(tokenizer.model),
        'settings': hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16],
        'image size': 'x'.join(map(str, tokenizer.image_size)),
        'fit': tokenizer.fit,
        'image folder': str(root.resolve()),
    }
    if (channels := tokenizer.channels) is not None:
        values = (channels.loader.keep, channels.low.flatten().tolist(), channels.high.flatten().tolist())
        found['channels'] = ' '.join(map(str, (channels.loader.dtype, *values)))
    return found


class UnfinishedCodes:
    """An array of codes on disk and a mask of the images that are done, in the folder ``out`` + ``.parts``.

    The codes of an earlier run are taken over for images that still have the same size and time of the last change.

    Args:
        out: the file of codes, which :meth:`finish` writes.
        made_by: see :func:`made_by`.
        files: the images, see :func:`mmbeitv2.datasets.image_files`.
        grid_size: codes (h, w) of an image.
        num_codes: size of the codebook.

    Raises:
        InputError: if there are codes that are damaged, or were made by something else.
    """

    def __init__(
        self, out: Path, made_by: dict[str, str], files: dict[str, str], grid_size: tuple[int, int], num_codes: int
    ) -> None:
        self.out, self.made_by, self.num_codes = out, made_by, num_codes
        self.folder = out.with_name(f'{out.name}.parts')
        stamps = np.array([_stamp(place) for place in files.values()], np.int64)
        self.images: dict[str, Any] = {'paths': np.array(list(files)), 'size': stamps[:, 0], 'mtime': stamps[:, 1]}
        require_removable(self.folder, _TOOL, _FILES)
        earlier = self._earlier()
        claim_folder(self.folder, _TOOL)
        if 'done' not in earlier or not all(np.array_equal(earlier[key], self.images[key]) for key in self.images):
            self._start(earlier, grid_size)
        self.codes, self.done = (
            np.lib.format.open_memmap(self.folder / name, 'r+') for name in ('codes.npy', 'done.npy')
        )

    def _earlier(self) -> dict[str, np.ndarray]:
        """What is unfinished, or else what ``out`` holds: ``paths``, ``size``, ``mtime``, ``codes`` (and ``done``)."""
        file = self.folder / 'made_by.json'
        is_unfinished = file.is_file()
        if not is_unfinished:
            saved = self.folder / 'earlier.npz'  # of a run that was killed while it made new arrays
            file = saved if saved.is_file() else self.out
        if not file.is_file():
            return {}
        try:
            with np.load(self.folder / 'images.npz' if is_unfinished else file) as content:
                rows = {key: content[key] for key in content if is_unfinished or key in (*self.images, 'codes')}
                known = json.loads(file.read_text() if is_unfinished else str(content['made_by']))
            if is_unfinished:
                rows |= {key: np.load(self.folder / f'{key}.npy') for key in ('codes', 'done')}
            if not {*self.images, 'codes'} <= rows.keys():
                raise KeyError('a column is missing')
            differing = [key for key in known.keys() | self.made_by if known.get(key) != self.made_by.get(key)]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(
                f'{str(file)!r} is damaged, or was not written by tokenize_images.py. Remove it, or choose another '
                '--out.'
            ) from error
        if differing:
            raise InputError(
                f'the codes in {str(file)!r} were made with another tokenizer, folder or setting (different: '
                f'{", ".join(sorted(differing))}). Remove them, or choose another --out.'
            )
        return rows

    def _start(self, earlier: dict[str, np.ndarray], grid_size: tuple[int, int]) -> None:
        """Makes the arrays and copies the codes that are still valid; ``made_by.json`` comes last."""
        rows = list(zip(*(self.images[key].tolist() for key in self.images), strict=True))
        known: dict[tuple, int] = {}
        if earlier:
            found = zip(*(earlier[key].tolist() for key in self.images), strict=True)
            known = {row: i for i, row in enumerate(found) if 'done' not in earlier or earlier['done'][i]}
        taken = [i for i, row in enumerate(rows) if row in known]
        if 'done' in earlier:  # kept until the new arrays are complete
            columns = {key: earlier[key][earlier['done']] for key in (*self.images, 'codes')}
            self._write(self.folder / 'earlier.npz', columns)
        (self.folder / 'made_by.json').unlink(missing_ok=True)
        dtype = np.uint16 if self.num_codes <= 1 << 16 else np.uint32
        codes = np.lib.format.open_memmap(self.folder / 'codes.npy', 'w+', dtype, (len(rows), *grid_size))
        done = np.lib.format.open_memmap(self.folder / 'done.npy', 'w+', bool, (len(rows),))
        if taken:
            codes[taken] = earlier['codes'][[known[rows[i]] for i in taken]]
            done[taken] = True
        codes.flush()
        done.flush()
        with open_atomically(self.folder / 'images.npz') as stream:
            np.savez(stream, **self.images)
        write_atomically(self.folder / 'made_by.json', json.dumps(self.made_by).encode())
        (self.folder / 'earlier.npz').unlink(missing_ok=True)

    def add(self, rows: list[int], codes: np.ndarray) -> None:
        """Stores the codes (n, h, w) of n images, which are counted from 0 in the order of ``files``."""
        self.codes[rows] = codes
        self.codes.flush()
        self.done[rows] = True

    def finish(self) -> int:
        """Writes the file of all codes that are done, and removes the folder; returns the number of images."""
        columns = {key: column[self.done] for key, column in (self.images | {'codes': self.codes}).items()}
        self._write(self.out, columns)
        remove_folder(self.folder, _TOOL, _FILES)
        return len(columns['paths'])

    def _write(self, path: Path, columns: dict[str, Any]) -> None:
        about = json.dumps(self.made_by, sort_keys=True)
        with open_atomically(path) as stream:
            np.savez(stream, **columns, num_codes=np.array(self.num_codes), made_by=np.array(about))


class PreparedImages(Dataset):
    """Images at the tokenizer's size: (row, pixels (C, H, W)), or (row, why the image cannot be read).

    Args:
        files: the images, see :func:`mmbeitv2.datasets.image_files`.
        rows: which of them.
        tokenizer: which prepares them.
    """

    def __init__(self, files: dict[str, str], rows: list[int], tokenizer: VisualTokenizer) -> None:
        self.places, self.rows, self.prepare = list(files.values()), rows, tokenizer.prepare

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor | str]:
        row = self.rows[index]
        try:
            return row, self.prepare(self.places[row])
        except (InputError, OSError) as error:
            return row, str(error)


def tokenize_files(
    files: dict[str, str], tokenizer: VisualTokenizer, out: UnfinishedCodes, batch_size: int, num_workers: int
) -> tuple[int, list[str]]:
    """Tokenizes the images that are not done and writes the file.

    Returns:
        Number of images in the file, and a message for each image that cannot be read.

    Raises:
        InputError: if no image can be read.
    """
    remaining = np.flatnonzero(~out.done).tolist()
    images = PreparedImages(files, remaining, tokenizer)
    unreadable: list[str] = []
    with tqdm(total=len(files), initial=len(files) - len(remaining), unit='image', smoothing=0.05) as progress:
        for batch in DataLoader(images, batch_size, num_workers=num_workers, collate_fn=list):
            unreadable += [pixels for _, pixels in batch if isinstance(pixels, str)]
            readable = [sample for sample in batch if not isinstance(sample[1], str)]
            if readable:
                codes = tokenizer.tokenize(torch.stack([pixels for _, pixels in readable]))
                out.add([row for row, _ in readable], codes.numpy())
            progress.update(len(batch))
    if not out.done.any():
        raise InputError(f'none of the {len(files)} images can be read ({unreadable[0]})')
    return out.finish(), unreadable


def _stamp(place: str) -> tuple[int, int]:
    try:
        return size_and_time(place)
    except OSError:  # it is listed as unreadable
        return -1, -1
