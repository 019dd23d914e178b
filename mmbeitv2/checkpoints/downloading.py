"""Downloads checkpoints completely, verified, and once per machine."""

from __future__ import annotations

import hashlib
import re
import sys
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from mmengine.logging import print_log
from tqdm import tqdm

from mmbeitv2.checkpoints.tensors import read_file
from mmbeitv2.errors import InputError

_TIMEOUT = 60.0  # seconds without an answer
# Tried in turn where a repository of Hugging Face is named without a file.
_HUB_FILES = ('model.safetensors', 'pytorch_model.bin')
# First digits of the SHA-256 at the end of a file name, as torch and OpenMMLab write them.
_DIGEST = re.compile(r'-([0-9a-f]{8,64})\.\w+$')


def download(url: str) -> Path:
    """The local copy of a checkpoint, from the cache of torch.hub or downloaded.

    If several processes of a machine ask at the same time, one downloads and the others wait. A file on huggingface.co
    is left to ``huggingface_hub`` and its cache.

    Raises:
        InputError: naming the address, the path in the cache and what to do, if the file cannot be downloaded
            completely, or does not have the digest that its name ends in.
    """
    if match := re.match(r'https://huggingface\.co/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)', url):
        return download_from_hub(match[1], match[3], match[2])
    path = cached_path(url)
    partial = path.with_name(f'{path.stem}.partial{path.suffix}')
    digest = _DIGEST.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f'.{path.name}.lock')):
            if not path.exists():
                print_log(f'Downloading {url} to {path}', logger='current')
                try:
                    found = _fetch(url, partial)
                    if digest is not None and not found.startswith(digest[1]):
                        raise ValueError(f'its SHA-256 begins with {found[:8]}, not {digest[1]}')
                    read_file(partial)  # the connection may have broken off, or a server answered with a page
                    partial.replace(path)
                finally:
                    partial.unlink(missing_ok=True)
    except (OSError, HTTPException, RuntimeError, ValueError) as error:
        raise InputError(_out_of_reach(url, str(path), error)) from error
    return path


def _fetch(url: str, path: Path) -> str:
    """Writes what an address gives into a file; its SHA-256. torch.hub would wait forever for a silent server."""
    digest = hashlib.sha256()
    request = Request(url, headers={'User-Agent': 'mmbeitv2'})  # some servers refuse Python's
    with urlopen(request, timeout=_TIMEOUT) as response, path.open('wb') as file:
        total = int(response.headers.get('Content-Length') or 0) or None
        with tqdm(total=total, unit='B', unit_scale=True, disable=not sys.stderr.isatty()) as bar:
            while chunk := response.read(1 << 20):
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
    return digest.hexdigest()


def cached_path(url: str) -> Path:
    """Where the file of an address is kept: torch's place if the name has a digest, else a folder of the address."""
    name = PurePosixPath(urlsplit(url).path).name
    if name in ('', '..'):
        raise InputError(f'{url} does not name a file. Pass the address of the file itself.')
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    return folder / name if _DIGEST.search(name) else folder / hashlib.sha256(url.encode()).hexdigest()[:8] / name


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
    reason = str(getattr(error, 'reason', error)).rpartition('cannot be used: ')[2].partition('\n')[0].rstrip('.')
    return (
        f'{url} cannot be downloaded ({reason or type(error).__name__}). Download it on another machine and put it at '
        f'{place!r}, or pass the path of your copy instead of the name (for a name in a config: --cfg-options '
        '...checkpoint=FILE).'
    )
