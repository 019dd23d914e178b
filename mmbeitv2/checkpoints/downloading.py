"""Downloads checkpoints completely, verified, and once per machine."""

from __future__ import annotations

import hashlib
import re
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from mmengine.logging import print_log
from tqdm import tqdm

from mmbeitv2.checkpoints.tensors import read_file
from mmbeitv2.errors import InputError

_TIMEOUT = 60  # seconds without an answer
# Tried in turn where a repository of Hugging Face is named without a file.
_HUB_FILES = ('model.safetensors', 'pytorch_model.bin')


def download(url: str, sha256: str | None = None) -> Path:
    """The local copy of a checkpoint, from the cache of torch.hub or downloaded.

    If several processes of a machine ask at the same time, one downloads and the others wait.

    Args:
        url: ``http://`` or ``https://``; a file on huggingface.co is left to ``huggingface_hub`` and its cache.
        sha256: first digits of the digest, if known. Digits at the end of the file name, as torch and OpenMMLab write
            them, are checked as well.

    Raises:
        InputError: naming the address, the path in the cache and what to do, if the file cannot be downloaded
            completely.
    """
    if match := re.match(r'https://huggingface\.co/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)', url):
        return download_from_hub(match[1], match[3], match[2])
    path = cached_path(url)
    partial = path.with_name(f'{path.stem}.partial{path.suffix}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f'.{path.name}.lock')):
            if not path.exists():
                in_name = re.search(r'-([0-9a-f]{8,64})\.\w+$', path.name)
                print_log(f'Downloading {url} to {path}', logger='current')
                try:
                    _fetch(url, partial, [digest for digest in (sha256, in_name and in_name[1]) if digest])
                    partial.replace(path)
                finally:
                    partial.unlink(missing_ok=True)
    except (OSError, HTTPException, ValueError) as error:
        raise InputError(_out_of_reach(url, str(path), error)) from error
    return path


def cached_path(url: str) -> Path:
    """Where the file of an address is kept: torch's place if the name has a digest, else one that is the address's."""
    parts = urlsplit(url)
    names = [part for part in PurePosixPath(parts.path).parts if part not in ('/', '.', '..')]
    if not names:
        raise InputError(f'{url} does not name a file. Pass the address of the file itself.')
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    if re.search(r'-[0-9a-f]{8,64}\.\w+$', names[-1]):
        return folder / names[-1]
    if parts.query:  # which can choose the file
        names.insert(-1, hashlib.sha256(parts.query.encode()).hexdigest()[:8])
    return folder.joinpath(parts.netloc.replace(':', '_'), *names)


def download_from_hub(repository: str, file: str | None = None, revision: str = 'main') -> Path:
    """A file of a repository on Hugging Face, from the cache of ``huggingface_hub`` if it is there.

    Args:
        repository: ``owner/name``.
        file: its path in the repository; by default ``model.safetensors`` or else ``pytorch_model.bin``.
        revision: a branch, tag or commit.

    Raises:
        InputError: if it does not exist or cannot be reached.
    """
    from huggingface_hub import constants, errors, hf_hub_download

    for name in (file,) if file else _HUB_FILES:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except Exception as error:  # of the network, of the repository's name, of permission
            reason = error
            if not isinstance(error, errors.EntryNotFoundError) or isinstance(error, errors.LocalEntryNotFoundError):
                break
    url = f'https://huggingface.co/{repository}/resolve/{revision}/{name}'
    raise InputError(_out_of_reach(url, constants.HF_HUB_CACHE, reason)) from reason


def _out_of_reach(url: str, place: str, error: Exception) -> str:
    reason = getattr(error, 'reason', error)  # of a URLError, the error of the system
    reason = getattr(reason, 'strerror', None) or next(iter(str(reason).splitlines()), type(error).__name__)
    if isinstance(error, HTTPError):
        reason = f'the server answered {error.code} {error.reason}'
    return (
        f'{url} cannot be downloaded ({str(reason).rstrip(".")}). Download it on another machine and put it at '
        f'{place!r}, or pass the path of your copy instead of the name (for a name in a config: --cfg-options '
        '...checkpoint=FILE).'
    )


def _fetch(url: str, path: Path, digests: list[str]) -> None:
    """Downloads a file. torch.hub's function takes a connection that broke off for the end of the file.

    Raises:
        OSError, HTTPException, ValueError: if what arrived is not the file, or not a checkpoint.
    """
    hashed = hashlib.sha256()
    with urlopen(Request(url, headers={'User-Agent': 'mmbeitv2'}), timeout=_TIMEOUT) as answer, path.open('wb') as out:
        length = int(answer.headers.get('Content-Length') or 0)
        with tqdm(total=length or None, unit='B', unit_scale=True, disable=None, desc=path.stem) as progress:
            while chunk := answer.read(1 << 20):
                hashed.update(chunk)
                progress.update(out.write(chunk))
        received = out.tell()
    if length and received != length:
        raise ValueError(f'the connection was lost after {received} of {length} bytes')
    for digest in digests:
        if not hashed.hexdigest().startswith(digest):
            raise ValueError(f'its SHA-256 begins with {hashed.hexdigest()[: len(digest)]} instead of {digest}')
    try:  # a server may leave the length out, or answer with a page
        read_file(path)
    except InputError as error:
        raise ValueError(str(error).partition('cannot be used: ')[2] or str(error)) from error
