"""Trains a small CLIP on a folder of captioned images, with open_clip's own model and loss: the quickstart's teacher.

    python -m mmbeitv2.demo.clip DIR OUT

DIR holds images in class folders and, if there are captions, ``captions.tsv`` (``path<TAB>caption``) beside them;
without it the caption of an image is the name of its folder. OUT becomes a folder that
``OpenCLIPTeacher(model='local-dir:OUT')`` reads.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

import open_clip
import torch
from open_clip.loss import ClipLoss

from mmbeitv2.apis.visual_tokenizer import to_tensor
from mmbeitv2.datasets import find_images
from mmbeitv2.datasets.resizing import fit_image
from mmbeitv2.errors import InputError, one_sentence_errors
from mmbeitv2.fileio.folders import replacing_folder

MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
# Room for the margin that random crops need, in pixels.
MARGIN = 6
# Name in the mark of the folder that is written, and what is in it.
TOOL = 'mmbeitv2.demo.clip'
WRITTEN = ('open_clip_config.json', 'open_clip_pytorch_model.bin')


def model_config(img_size: int, patch_size: int, width: int, layers: int) -> dict:
    """open_clip's description of the model."""
    return {
        'embed_dim': width,
        'vision_cfg': {
            'image_size': img_size,
            'patch_size': patch_size,
            'width': width,
            'layers': layers,
            'head_width': 32,
            'pool_type': 'avg',  # so that the patch features themselves are drawn to the captions
        },
        'text_cfg': {'context_length': 16, 'vocab_size': 49408, 'width': width, 'heads': width // 32, 'layers': 1},
    }


def read_pairs(folder: Path) -> list[tuple[Path, str]]:
    """Image files with their captions.

    Raises:
        InputError: if there are no images, or one has neither a caption nor a class folder.
    """
    table = folder.parent / 'captions.tsv'
    if table.is_file():
        rows = [line.split('\t', 1) for line in table.read_text().splitlines()]
        pairs = [(folder.parent / path, caption) for path, caption in rows]
    else:
        parts = [Path(file).parts for file in find_images(folder)]
        flat = [names[0] for names in parts if len(names) == 1]
        if flat:
            raise InputError(
                f'image {str(folder / flat[0])!r} is not in a class folder, and {str(table)!r} does not exist. Put '
                'each image into a folder that is named after what it shows.'
            )
        pairs = [(folder.joinpath(*names), names[0].replace('_', ' ')) for names in parts]
    return pairs


def load_images(paths: list[Path], side: int) -> torch.Tensor:
    """All images at once, uint8 RGB (n, 3, side, side)."""
    return torch.stack([fit_image(to_tensor(path), (side, side), 'stretch') for path in paths])


def augment(images: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """One random window and one coin for a flip per batch; normalized."""
    top, left = (int(torch.randint(0, images.shape[-1] - size + 1, (), generator=generator)) for _ in range(2))
    images = images[..., top : top + size, left : left + size].float() / 255
    if torch.rand((), generator=generator) < 0.5:
        images = images.flip(-1)
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def train(args: argparse.Namespace, out: Path) -> None:
    """Trains and writes the model into the folder ``out``."""
    pairs = read_pairs(args.folder)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    config = model_config(args.img_size, args.patch_size, args.width, args.layers)
    model = open_clip.CLIP(**config)
    tokenizer = open_clip.SimpleTokenizer(context_length=config['text_cfg']['context_length'])
    images = load_images([path for path, _ in pairs], args.img_size + MARGIN)
    captions = sorted({caption for _, caption in pairs})
    tokens = tokenizer(captions)
    position = {caption: i for i, caption in enumerate(captions)}
    caption_of = torch.tensor([position[caption] for _, caption in pairs])
    batch = min(args.batch_size, len(pairs))
    steps = args.epochs * (len(pairs) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / (0.1 * steps)) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))),
    )
    loss_fn = ClipLoss()
    step, start = 0, time.monotonic()
    for epoch in range(args.epochs):
        order = torch.randperm(len(pairs), generator=generator)
        total = 0.0
        for index in order[: len(order) // batch * batch].split(batch):
            image_features, text_features, scale = model(
                augment(images[index], args.img_size, generator), tokens[caption_of[index]]
            )
            loss = loss_fn(image_features, text_features, scale)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
            total += loss.item()
            step += 1
        sys.stdout.write(
            f'epoch {epoch + 1}/{args.epochs}  loss {total / max(1, len(order) // batch):.3f}  '
            f'{time.monotonic() - start:.0f} s\n'
        )
        sys.stdout.flush()
    write_model(model, config, out)


def write_model(model: torch.nn.Module, config: dict, folder: Path) -> None:
    """Writes open_clip's config and weights."""
    preprocess = {'mean': list(MEAN), 'std': list(STD), 'interpolation': 'bicubic', 'resize_mode': 'squash'}
    (folder / WRITTEN[0]).write_text(json.dumps({'model_cfg': config, 'preprocess_cfg': preprocess}, indent=2))
    torch.save(model.state_dict(), folder / WRITTEN[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of images in class folders')
    parser.add_argument('out', type=Path, help='folder to write the model to')
    parser.add_argument('--img-size', type=int, default=48)
    parser.add_argument('--patch-size', type=int, default=8)
    parser.add_argument('--width', type=int, default=128)
    parser.add_argument('--layers', type=int, default=4)
    parser.add_argument('--epochs', type=int, default=5)
    parser.add_argument('--batch-size', type=int, default=128)
    parser.add_argument('--lr', type=float, default=1e-3)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    with one_sentence_errors('mmbeitv2.demo.clip'):
        if args.folder.resolve().is_relative_to(args.out.resolve()):
            raise InputError(
                f'{str(args.out)!r} contains the images {str(args.folder)!r}. Choose another output folder.'
            )
        with replacing_folder(args.out, TOOL, WRITTEN) as partial:
            train(args, partial)


if __name__ == '__main__':
    main()
