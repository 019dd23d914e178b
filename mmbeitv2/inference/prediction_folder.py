"""The images of a prediction, and the folder of its results: what is done is recorded, and never done again."""

from __future__ import annotations

import glob
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, barrier, get_dist_info

from mmbeitv2.datasets.file_backends import read_lines
from mmbeitv2.datasets.image_folder import find_images
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import PARTIAL, cannot_write, write_atomically
from mmbeitv2.fileio.folders import claim_folder, is_made_by
from mmbeitv2.fileio.locking import hold_folder

TOOL = 'predict.py'
_RECORD = '.predict'
_LIST = '.txt'


def find_inputs(inputs: Sequence[str | Path], extensions: Sequence[str], out: str | Path) -> dict[str, str]:
    """Images by what a person names.

    Args:
        inputs: image files; folders of any depth; patterns like ``photos/*/2024*.jpg``; text files (``.txt``) that list
            image files or folders, one per line, relative to the folder of the list.
        extensions: of image files in folders, in lower case.
        out: folder of the results, whose pictures are no inputs. Those of other results in a folder are none either.

    Returns:
        Name of each image, which is its path below the innermost folder around all inputs, and its path; sorted.

    Raises:
        InputError: if an input does not exist or holds no image.
    """
    folders: list[str] = []
    found: dict[str, None] = {}
    for path in _expand(map(str, inputs)):
        if os.path.isdir(path):
            folders.append(os.path.abspath(path))
            images = find_images(Path(folders[-1]), extensions)
            results = {below for below in set(map(os.path.dirname, images)) if _is_of_results(folders[-1], below)}
            images = [name for name in images if os.path.dirname(name) not in results]
            found |= dict.fromkeys(os.path.join(folders[-1], name) for name in images)
        else:
            folders.append(os.path.dirname(os.path.abspath(path)))
            found[os.path.abspath(path)] = None
    if not folders:
        raise InputError('no input is given. Pass image files, folders, patterns, or a .txt list of them.')
    root = os.path.commonpath(folders)
    own = os.path.abspath(out)
    return {os.path.relpath(path, root): path for path in sorted(found) if not Path(path).is_relative_to(own)}


def _is_of_results(root: str, below: str) -> bool:
    """Whether a folder below a folder of images is, or lies in, one that holds the results of a prediction."""
    parts = Path(below).parts
    return any(is_made_by(Path(root, *parts[: i + 1]), TOOL) for i in range(len(parts)))


def require_distinct(files: dict[str, str]) -> None:
    """Raises an InputError if two images have the same name apart from the extension, as their results would have."""
    stems: dict[str, str] = {}
    for name in files:
        other = stems.setdefault(os.path.splitext(name)[0], name)
        if other != name:
            raise InputError(
                f'the results of {files[other]!r} and {files[name]!r} would have the same name. Rename one of them, or '
                'predict them into different folders.'
            )


def _expand(inputs: Iterator[str]) -> Iterator[str]:
    """The files and folders of inputs that may be patterns or lists."""
    for path in inputs:
        matches = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        if not matches:
            raise InputError(f'input {path!r} not found. Pass image files, folders, patterns, or a .txt list of them.')
        for match in matches:
            if not match.lower().endswith(_LIST):
                yield match
                continue
            for number, line in enumerate(read_lines(match, 'image list'), 1):
                listed = os.path.join(os.path.dirname(match), line)
                if not os.path.exists(listed):
                    raise InputError(
                        f'line {number} of image list {match!r} names {line[:99]!r}, which does not exist in the '
                        'folder of the list. Correct or remove the line.'
                    )
                yield listed


class PredictionFolder:
    """A folder of results. Several processes may write into it, each the results of other images.

    A hidden folder in it holds what the results were made with, and a line for each image that is done.

    Args:
        folder: made if it is missing; else empty or of an earlier prediction.
        made_by: what the results depend on besides the images.

    Raises:
        InputError: if it holds something else, or results that were made by something else, or if another prediction
            writes into it.
    """

    def __init__(self, folder: Path, made_by: dict[str, str]) -> None:
        self.folder = folder
        self.rank, self.num_processes = get_dist_info()
        record = folder / _RECORD / 'made_by.json'
        self._journal = record.parent / f'done-{self.rank}.jsonl'
        #: what :meth:`record` noted of each image, in this run or before
        self.done: dict[str, dict[str, Any]] = {}
        if self.rank == 0:
            claim_folder(folder, TOOL)
            hold_folder(folder, 'prediction', '--out')
            self._read_journals()
            if self.done and record.is_file():
                _require_same(record, made_by)
            for partial in filter(Path.is_file, folder.rglob(f'*{PARTIAL}')):  # what a kill left
                partial.unlink()
            write_atomically(record, json.dumps(made_by).encode())
        barrier()  # no process writes into a folder that is not taken
        self._read_journals()

    def _read_journals(self) -> None:
        entries = []
        for journal in self._journal.parent.glob('done-*.jsonl'):
            for line in journal.read_bytes().splitlines():
                with suppress(ValueError):  # a kill cut it off
                    entry = json.loads(line)
                    if isinstance(entry, dict) and entry.keys() >= {'image', 'path', 'stamp', 'when'}:
                        entries.append(entry)
        self.done = {entry['image']: entry for entry in sorted(entries, key=lambda entry: entry['when'])}

    def gather(self, messages: list[str]) -> list[str]:
        """The messages of all processes, once all have come here; :attr:`done` then has the images of all."""
        gathered = [message for part in all_gather_object(messages) for message in part]
        self._read_journals()
        return gathered

    def share(self, files: dict[str, str]) -> dict[str, str]:
        """The images that this process predicts."""
        return dict(list(files.items())[self.rank :: self.num_processes])

    def require_same_images(self, files: dict[str, str]) -> None:
        """Raises an InputError if there are results of another image under the name of one of these."""
        for image in sorted(files.keys() & self.done.keys()):
            former, path = self.done[image]['path'], os.path.realpath(files[image])
            if former != path:
                raise InputError(
                    f'the results of {path!r} would have the same name as those of {former!r} in {str(self.folder)!r}. '
                    'Choose another --out.'
                )

    def is_done(self, image: str, path: str, outputs: Sequence[Path] = ()) -> bool:
        """Whether the results of an image are there and the image is still that of the results."""
        entry = self.done.get(image)
        return entry is not None and entry['stamp'] == stamp_of(path) and all(output.is_file() for output in outputs)

    def record(self, image: str, path: str, **results: Any) -> None:
        """Notes that the results of an image are complete."""
        about = dict(image=image, path=os.path.realpath(path), stamp=stamp_of(path), when=time.time())
        self.done[image] = about | results
        try:
            with self._journal.open('a') as stream:
                stream.write(f'\n{json.dumps(self.done[image])}\n')
        except OSError as error:
            raise cannot_write(self._journal, error) from error


def _require_same(record: Path, made_by: dict[str, str]) -> None:
    """Refuses results that were made by something else."""
    folder = str(record.parent.parent)
    try:
        known = dict(json.loads(record.read_bytes()))
    except (ValueError, TypeError):
        raise InputError(
            f'{str(record)!r}, which says what the results were made with, is damaged. Remove {folder!r}, or choose '
            'another --out.'
        ) from None
    differing = sorted(key for key in known.keys() | made_by if known.get(key) != made_by.get(key))
    if differing:
        raise InputError(
            f'the results in {folder!r} were made with another model or other settings (different: '
            f'{", ".join(differing)}). Remove the folder, or choose another --out.'
        )


def stamp_of(path: str) -> list[int]:
    """Size in bytes and time of the last change in ns of a file; -1 if it cannot be asked, which its reader says."""
    try:
        about = os.stat(path)
    except OSError:
        return [-1, -1]
    return [about.st_size, about.st_mtime_ns]
