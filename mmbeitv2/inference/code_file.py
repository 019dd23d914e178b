"""Files of codes: what they contain, what they were made from, and how new codes are added."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from mmbeitv2.errors import InputError
from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.fileio.folders import claim_folder, remove_folder, require_removable

# Name in the mark of the folder of parts, and what is in it.
_TOOL = 'tokenize_images.py'
_PARTS = ('[0-9]*.npz',)


@dataclass
class ImageCodes:
    """The codes of one image, and what identifies the image in a later run.

    Attributes:
        codes: (h, w).
        size: of the file, in bytes.
        mtime: when it was changed last, in ns.
        digest: of its content.
    """

    codes: np.ndarray
    size: int
    mtime: int
    digest: int


class CodeFile:
    """A file of codes, and the partial files that are written beside it while it grows.

    Args:
        path: of the file; the parts lie in ``path`` + ``.parts``.
        made_by: what the codes depend on besides the images: name -> value.
        root: folder of the images.
        num_codes: size of the codebook.
    """

    def __init__(self, path: Path, made_by: dict[str, str], root: Path, num_codes: int) -> None:
        self.path, self.made_by, self.root, self.num_codes = path, made_by, str(root.resolve()), num_codes
        self.parts = path.with_name(path.name + '.parts')

    def read(self) -> tuple[dict[str, ImageCodes], set[str]]:
        """The codes that exist already: the images by path, and the folders that they were in.

        Raises:
            InputError: if a file is damaged, or was made by another tokenizer or with other settings.
        """
        require_removable(self.parts, _TOOL, _PARTS)
        images: dict[str, ImageCodes] = {}
        roots: set[str] = set()
        for file in [self.path, *sorted(self.parts.glob('*.npz'))]:
            if file.is_file():
                part, root = self._read(file)
                images |= part
                roots.add(root)
        return images, roots

    def _read(self, file: Path) -> tuple[dict[str, ImageCodes], str]:
        try:
            with np.load(file) as content:
                made_by, root = json.loads(str(content['made_by'])), str(content['root'])
                columns = [content[field.name] for field in fields(ImageCodes)]
                rows = zip(content['paths'].tolist(), *columns, strict=True)
                images = {path: ImageCodes(codes, *map(int, known)) for path, codes, *known in rows}
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(
                f'{str(file)!r} is damaged, or was not written by this version of tokenize_images.py. Remove it, or '
                'choose another --out.'
            ) from error
        names = made_by.keys() | self.made_by.keys()
        differing = sorted(name for name in names if made_by.get(name) != self.made_by.get(name))
        if differing:
            kinds = ' and '.join(_OTHER.get(name, name) for name in differing)
            raise InputError(
                f'the codes in {str(file)!r} were made with {kinds}. Remove the file, or choose another --out.'
            )
        return images, root

    def write_part(self, images: dict[str, ImageCodes]) -> None:
        """Writes the codes that were added since the last part."""
        claim_folder(self.parts, _TOOL)
        self._write(self.parts / f'{len(list(self.parts.glob("*.npz"))):06}.npz', images)

    def finish(self, images: dict[str, ImageCodes]) -> None:
        """Writes the complete file, ordered by path, and removes the parts."""
        self._write(self.path, dict(sorted(images.items())))
        remove_folder(self.parts, _TOOL, _PARTS)

    def _write(self, path: Path, images: dict[str, ImageCodes]) -> None:
        rows = list(images.values())
        buffer = io.BytesIO()
        np.savez(
            buffer,
            paths=np.array(list(images)),
            codes=np.stack([row.codes for row in rows]).astype(np.uint16 if self.num_codes <= 1 << 16 else np.uint32),
            size=np.array([row.size for row in rows], dtype=np.int64),
            mtime=np.array([row.mtime for row in rows], dtype=np.int64),
            digest=np.array([row.digest for row in rows], dtype=np.uint64),
            num_codes=self.num_codes,
            made_by=json.dumps(self.made_by, sort_keys=True),
            root=self.root,
        )
        AtomicBackend().put(buffer.getvalue(), path)


# What a difference in ``made_by`` is called.
_OTHER = {
    'weights': 'another tokenizer (other weights)',
    'encoder': 'another config (another encoder)',
    'image_size': 'another image size',
    'fit': 'another --fit',
    'channels': 'other channels',
}
