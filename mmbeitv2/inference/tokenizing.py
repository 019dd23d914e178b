"""Writes the codes of all images of a folder to a file."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import open_atomically
from mmbeitv2.inference.prediction_folder import stamp_of
from mmbeitv2.inference.visual_tokenizer import VisualTokenizer
from mmbeitv2.layers import fingerprint

_SAVE_EVERY = 60  # seconds
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


class Codes:
    """The codes of the images of a folder, as far as they are done.

    Those of an earlier run are taken over for images that still have the same size and time of the last change.

    Args:
        out: the file of codes, where they are read from and written to.
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
        self.partial = out.with_name(f'{out.name}.partial')
        stamps = np.array([stamp_of(place) for place in files.values()], np.int64)
        self.images = {'paths': np.array(list(files)), 'size': stamps[:, 0], 'mtime': stamps[:, 1]}
        dtype = np.uint16 if num_codes <= 1 << 16 else np.uint32
        self.codes = np.zeros((len(files), *grid_size), dtype)
        self.done = np.zeros(len(files), bool)
        for file in (self.partial, out):
            if file.is_file():
                self._take_over(file)
                break

    def _take_over(self, file: Path) -> None:
        try:
            with np.load(file) as content:
                earlier = {key: content[key] for key in (*self.images, 'codes')}
                known = json.loads(str(content['made_by']))
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
        rows, former = (zip(*(of[key].tolist() for key in self.images), strict=True) for of in (self.images, earlier))
        places = {row: i for i, row in enumerate(former)}
        found = [places.get(row, -1) for row in rows]
        self.done[:] = [place >= 0 for place in found]
        self.codes[self.done] = earlier['codes'][[place for place in found if place >= 0]]

    def save(self, path: Path) -> None:
        """Writes all codes that are done."""
        columns: dict[str, Any] = {
            key: column[self.done] for key, column in (self.images | {'codes': self.codes}).items()
        }
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
    files: dict[str, str], tokenizer: VisualTokenizer, codes: Codes, batch_size: int, num_workers: int
) -> list[str]:
    """Tokenizes the images that are not done and writes the file.

    What is done is saved every minute, and when it is interrupted, to ``codes.partial``.

    Returns:
        A message for each image that cannot be read.

    Raises:
        InputError: if no image can be read.
    """
    remaining = np.flatnonzero(~codes.done).tolist()
    images = PreparedImages(files, remaining, tokenizer)
    unreadable: list[str] = []
    saved = time.monotonic()
    try:
        with tqdm(total=len(files), initial=len(files) - len(remaining), unit='image', smoothing=0.05) as progress:
            for batch in DataLoader(images, batch_size, num_workers=num_workers, collate_fn=list):
                unreadable += [pixels for _, pixels in batch if isinstance(pixels, str)]
                readable = [sample for sample in batch if not isinstance(sample[1], str)]
                if readable:
                    rows = [row for row, _ in readable]
                    codes.codes[rows] = tokenizer.tokenize(torch.stack([pixels for _, pixels in readable])).numpy()
                    codes.done[rows] = True
                progress.update(len(batch))
                if time.monotonic() - saved > _SAVE_EVERY:
                    codes.save(codes.partial)
                    saved = time.monotonic()
    except BaseException:
        codes.save(codes.partial)
        raise
    if not codes.done.any():
        raise InputError(f'none of the {len(files)} images can be read ({unreadable[0]})')
    codes.save(codes.out)
    codes.partial.unlink(missing_ok=True)
    return unreadable
