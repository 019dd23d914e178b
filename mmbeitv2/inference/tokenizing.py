"""Writes the codes of all images of a folder, or of shards, to a file."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmbeitv2.datasets import image_files
from mmbeitv2.datasets.file_backends import read_file
from mmbeitv2.datasets.shards import size_and_time
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.outputs import require_writable
from mmbeitv2.inference.channels import Channels, channels_of, image_extensions
from mmbeitv2.inference.code_file import CodeFile, ImageCodes
from mmbeitv2.inference.config import read_config
from mmbeitv2.inference.visual_tokenizer import VisualTokenizer
from mmbeitv2.tokenizers import VQKD, KMeansTokenizer

# Seconds between two writes of what is done: what a kill can cost.
WRITE_EVERY = 30.0


class PreparedImages(Dataset):
    """Images at the tokenizer's size: (path, size, mtime, digest, pixels (C, H, W) or an error).

    Args:
        files: of :func:`image_files`.
        tokenizer: which prepares them.
    """

    def __init__(self, files: dict[str, str], tokenizer: VisualTokenizer) -> None:
        self.files, self.prepare = list(files.items()), tokenizer.prepare

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[str, int, int, int, torch.Tensor | str]:
        path, place = self.files[index]
        try:
            return path, *size_and_time(place), digest_of(place), self.prepare(place)
        except (InputError, OSError) as error:
            return path, 0, 0, 0, str(error)


def digest_of(place: str) -> int:
    """A 64-bit hash of the content of an image file."""
    return int.from_bytes(hashlib.blake2b(read_file(place), digest_size=8).digest(), 'big')


def still_valid(place: str, known: ImageCodes, is_same_folder: bool) -> bool:
    """Whether existing codes still belong to an image."""
    size, mtime = size_and_time(place)
    if is_same_folder and (size, mtime) == (known.size, known.mtime):
        return True
    return size == known.size and digest_of(place) == known.digest


def valid_codes(root: Path, files: dict[str, str], out: CodeFile) -> dict[str, ImageCodes]:
    """The existing codes of images that have not changed.

    Raises:
        InputError: if the file holds the codes of another folder.
    """
    known, roots = out.read()
    others = sorted(roots - {out.root})
    valid = {path: row for path, row in known.items() if path in files and still_valid(files[path], row, not others)}
    stale = len(known) - len(valid)
    if others and stale:
        raise InputError(
            f'{str(out.path)!r} holds the codes of another image folder, {others[0]!r}. Choose another --out for '
            f'{str(root)!r}.'
        )
    if stale:
        sys.stdout.write(
            f'{stale} of {len(known)} codes are dropped because their images have changed or no longer exist\n'
        )
    return valid


def tokenize_folder(
    root: Path, tokenizer: VisualTokenizer, out: CodeFile, batch_size: int, num_workers: int
) -> tuple[int, list[str]]:
    """Tokenizes the images that are new or have changed.

    Returns:
        Number of images in the file, and a message for each image that cannot be read.

    Raises:
        InputError: if no image can be read, or the file holds codes of another folder or tokenizer.
    """
    files = image_files(root, image_extensions(tokenizer.channels))
    done = valid_codes(root, files, out)
    remaining = {path: place for path, place in files.items() if path not in done}
    loader = DataLoader(
        PreparedImages(remaining, tokenizer), batch_size=batch_size, num_workers=num_workers, collate_fn=list
    )
    unreadable: list[str] = []
    new: dict[str, ImageCodes] = {}
    written = time.monotonic()
    with tqdm(total=len(files), initial=len(done), unit='image', smoothing=0.05) as progress:
        for batch in loader:
            unreadable += [pixels for *_, pixels in batch if isinstance(pixels, str)]
            readable = [row for row in batch if not isinstance(row[-1], str)]
            if readable:
                codes = tokenizer.tokenize(torch.stack([row[-1] for row in readable])).numpy()
                new |= {path: ImageCodes(code, *known) for code, (path, *known, _) in zip(codes, readable, strict=True)}
            progress.update(len(batch))
            if new and time.monotonic() - written > WRITE_EVERY:
                out.write_part(new)
                done |= new
                new = {}
                written = time.monotonic()
    done |= new
    if not done:
        raise InputError(f'none of the {len(files)} images of {str(root)!r} can be read ({unreadable[0]})')
    out.finish(done)
    return len(done), unreadable


def parts_of(tokenizer: VisualTokenizer) -> dict[str, nn.Module]:
    """The parts of a tokenizer whose weights determine the codes."""
    model = tokenizer.model
    if isinstance(model, KMeansTokenizer):  # whose weights hold the fingerprint of its teacher
        return {'tokenizer': model}
    if isinstance(model, VQKD):
        return {'encoder': model.encoder, 'task': model.encode_task_layer, 'codebook': model.quantize.embedding}
    return {'encoder': model.encoder}


def identity(cfg: Config, tokenizer: VisualTokenizer) -> dict[str, str]:
    """Everything that the codes of an image depend on."""
    digest = hashlib.sha256()
    for name, part in parts_of(tokenizer).items():
        for key, value in sorted(part.state_dict().items()):
            number = value.float() if value.is_floating_point() else value
            digest.update(f'{name}.{key}'.encode() + number.cpu().numpy().tobytes())
    settings = cfg.model.get('tokenizer', cfg.model)  # of a pretraining, or of the tokenizer itself
    model, encoder = tokenizer.model, settings.get('encoder')
    if isinstance(model, KMeansTokenizer):  # which has none
        encoder = {'patch_size': model.patch_size, 'teacher_channels': model.teacher_channels}
    encoder = json.dumps(encoder, sort_keys=True, default=str)
    channels = {} if tokenizer.channels is None else {'channels': _settings_of(tokenizer.channels)}
    return channels | {
        'weights': digest.hexdigest(),
        'encoder': hashlib.sha256(encoder.encode()).hexdigest(),
        'image_size': 'x'.join(map(str, tokenizer.image_size)),
        'fit': tokenizer.fit,
    }


def _settings_of(channels: Channels) -> str:
    return f'{channels.loader.dtype} {channels.low.flatten().tolist()} {channels.high.flatten().tolist()}'


def tokenize_images(args: argparse.Namespace) -> None:
    """Writes or completes a file of codes; see ``tools/tokenize_images.py --help`` for ``args``.

    Raises:
        InputError: if the file cannot be written or holds codes of another folder or tokenizer, or the folder has no
            images.
    """
    if args.out.suffix != '.npz':
        raise InputError(f'--out {str(args.out)!r} must end in .npz')
    require_writable(args.out)
    cfg = read_config(args.config, args.cfg_options)
    image_files(args.images, image_extensions(channels_of(cfg)))  # says that there are none before a model is built
    tokenizer = VisualTokenizer(cfg, args.checkpoint, args.device, args.fit)
    out = CodeFile(args.out, identity(cfg, tokenizer), args.images, tokenizer.num_codes)
    count, unreadable = tokenize_folder(args.images, tokenizer, out, args.batch_size, args.num_workers)
    sys.stdout.write(f'{count} images, {tokenizer.grid_size[0]}x{tokenizer.grid_size[1]} codes each: {args.out}\n')
    if unreadable:
        sys.stdout.write('\n'.join([f'{len(unreadable)} images were left out:', *unreadable]) + '\n')
