"""Writes the codes of all images of a folder, of any depth, into one file.

    python tools/tokenize_images.py DIR --out codes.npz

The file holds ``paths`` (n,), relative to DIR; ``codes`` (n, h, w), unsigned; ``num_codes``; and ``made_by``. Stopped
in the middle, the same command goes on; run again later, it adds the images that are new. Images that cannot be read
are listed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.apis.config import add_cfg_options
from mmbeitv2.datasets import find_images
from mmbeitv2.errors import InputError, one_sentence_errors
from mmbeitv2.fileio.folders import claim_folder, remove_folder, require_removable

CONFIG = 'configs/tokenizer/vqkd_vit-b_3x768x12-clip_100e.py'
CHECKPOINT = 'checkpoints/vqkd_encoder_base_decoder_3x768x12_clip.pth'
# Seconds between two writes of what is done: what a kill can cost.
WRITE_EVERY = 30.0
# Name in the mark of the folder of parts, and what is in it.
TOOL = 'tokenize_images.py'
PARTS = ('[0-9]*.npz', '[0-9]*.npz.tmp')


class PreparedImages(Dataset):
    """Image files at the tokenizer's size: (index, pixels (3, H, W) uint8), or (index, why it cannot be read)."""

    def __init__(self, root: Path, paths: list[str], tokenizer: VisualTokenizer) -> None:
        self.root, self.paths, self.prepare = root, paths, tokenizer.prepare

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor | str]:
        try:
            return index, self.prepare(self.root / self.paths[index])
        except InputError as error:
            return index, str(error)


class CodeFile:
    """The output, and beside it the parts that are written on the way.

    Args:
        path: of the output; parts lie in ``path`` + ``.parts``.
        made_by: what the codes depend on; codes made by anything else are not mixed in.
        num_codes: size of the codebook.
    """

    def __init__(self, path: Path, made_by: dict, num_codes: int) -> None:
        self.path, self.num_codes = path, num_codes
        self.parts = path.with_name(path.name + '.parts')
        self.made_by = json.dumps(made_by, sort_keys=True)

    def read(self) -> dict[str, np.ndarray]:
        """Codes that are there already, by path."""
        require_removable(self.parts, TOOL, PARTS)
        codes: dict[str, np.ndarray] = {}
        for file in [self.path, *sorted(self.parts.glob('*.npz'))]:
            if not file.is_file():
                continue
            try:
                with np.load(file) as content:
                    made_by, part = str(content['made_by']), (content['paths'].tolist(), content['codes'])
            except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
                raise InputError(
                    f'{str(file)!r} is no file of codes ({error}): remove it, or give another --out'
                ) from error
            if made_by != self.made_by:
                raise InputError(
                    f'{str(file)!r} was made by {made_by}, not by {self.made_by}: remove it, or give another --out'
                )
            codes.update(zip(*part, strict=True))
        return codes

    def write_part(self, paths: list[str], codes: list[np.ndarray]) -> None:
        claim_folder(self.parts, TOOL)
        self._write(self.parts / f'{len(list(self.parts.glob("*.npz"))):06}.npz', paths, codes)

    def finish(self) -> int:
        """Puts the parts together, in the order of the paths; the number of images."""
        codes = self.read()
        paths = sorted(codes)
        self._write(self.path, paths, [codes[path] for path in paths])
        remove_folder(self.parts, TOOL, PARTS)
        return len(paths)

    def _write(self, path: Path, paths: list[str], codes: list[np.ndarray]) -> None:
        """Writes beside and renames, so that a kill leaves no half file."""
        partial = path.with_name(path.name + '.tmp')
        with partial.open('wb') as stream:
            dtype = np.uint16 if self.num_codes <= 1 << 16 else np.uint32
            np.savez(
                stream,
                paths=np.array(paths),
                codes=np.stack(codes).astype(dtype),
                num_codes=self.num_codes,
                made_by=self.made_by,
            )
        os.replace(partial, path)


def tokenize_folder(
    root: Path, tokenizer: VisualTokenizer, out: CodeFile, batch_size: int, num_workers: int
) -> tuple[int, list[str]]:
    """Tokenizes what is not done yet; the number of images in the file, and a sentence for each unreadable one."""
    done = out.read()
    paths = [path for path in find_images(root) if path not in done]
    loader = DataLoader(
        PreparedImages(root, paths, tokenizer), batch_size=batch_size, num_workers=num_workers, collate_fn=list
    )
    unreadable: list[str] = []
    new_paths: list[str] = []
    new_codes: list[np.ndarray] = []
    written = time.monotonic()
    with tqdm(total=len(done) + len(paths), initial=len(done), unit='image', smoothing=0.05) as progress:
        for batch in loader:
            unreadable += [content for _, content in batch if isinstance(content, str)]
            readable = [(index, content) for index, content in batch if not isinstance(content, str)]
            if readable:
                codes = tokenizer.tokenize(torch.stack([content for _, content in readable]))
                new_paths += [paths[index] for index, _ in readable]
                new_codes += list(codes.numpy())
            progress.update(len(batch))
            if new_paths and time.monotonic() - written > WRITE_EVERY:
                out.write_part(new_paths, new_codes)
                new_paths, new_codes = [], []
                written = time.monotonic()
    if new_paths:
        out.write_part(new_paths, new_codes)
    elif not done and not out.parts.is_dir():
        raise InputError(f'none of the {len(paths)} images of {str(root)!r} can be read ({unreadable[0]})')
    return out.finish(), unreadable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', type=Path, metavar='DIR', help='folder of images')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.npz', help='the file to write')
    parser.add_argument('--config', default=CONFIG, help='of the tokenizer (default: %(default)s)')
    parser.add_argument('--checkpoint', default=CHECKPOINT, help='its weights (default: %(default)s)')
    add_cfg_options(parser)
    parser.add_argument(
        '--fit',
        choices=['crop', 'stretch'],
        default='crop',
        help='how an image becomes a square: cut out its middle, or scale both sides (default: %(default)s)',
    )
    parser.add_argument('--batch-size', type=int, default=64, help='images at once (default: %(default)s)')
    parser.add_argument('--num-workers', type=int, default=2, help='processes that read (default: %(default)s)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ... (default: the GPU if there is one)')
    args = parser.parse_args()
    with one_sentence_errors('tokenize_images.py'):
        if args.out.suffix != '.npz':
            raise InputError(f'--out {str(args.out)!r} must end in .npz')
        tokenizer = VisualTokenizer(args.config, args.checkpoint, args.device, args.fit, args.cfg_options)
        made_by = {'checkpoint': Path(args.checkpoint).name, 'bytes': os.path.getsize(args.checkpoint), 'fit': args.fit}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        out = CodeFile(args.out, made_by, tokenizer.num_codes)
        count, unreadable = tokenize_folder(args.images, tokenizer, out, args.batch_size, args.num_workers)
        sys.stdout.write(f'{count} images, {tokenizer.grid_size[0]}x{tokenizer.grid_size[1]} codes each: {args.out}\n')
        if unreadable:
            sys.stdout.write('\n'.join([f'{len(unreadable)} images were left out:', *unreadable]) + '\n')


if __name__ == '__main__':
    main()
