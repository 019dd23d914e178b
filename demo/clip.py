"""A small CLIP, trained on a folder of captioned images in about a minute: the quickstart's teacher.

    python -m demo.clip DIR OUT

DIR holds images in class folders and, if there are captions, ``captions.tsv`` (``path<TAB>caption``) beside them;
without it the caption of an image is the name of its folder. OUT becomes a folder with ``small_clip.pth``, which
``SmallCLIPTeacher(pretrained='OUT/small_clip.pth')`` reads.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from mmbeitv2_tools.errors import one_sentence_errors
from torch import Tensor, nn

from demo.small_clip import MEAN, STD, ImageTower
from mmbeitv2.datasets import find_images
from mmbeitv2.datasets.resizing import fit_image
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.folders import replacing_folder
from mmbeitv2.inference.visual_tokenizer import to_tensor

# Room for the margin that random crops need, in pixels.
MARGIN = 6
# Name in the mark of the folder that is written, and what is in it.
TOOL = 'demo.clip'
WRITTEN = ('small_clip.pth',)
# Least values of the options.
_LEAST = {'img_size': 16, 'width': 4, 'epochs': 1, 'batch_size': 2}


def text_tower(num_words: int, width: int) -> nn.Module:
    """Embeds a caption, given as the number of times that it holds each word: the order of words does not count."""
    return nn.Sequential(nn.Linear(num_words, width), nn.ReLU(), nn.Linear(width, width))


def number_words(captions: list[str]) -> tuple[list[Tensor], int]:
    """The numbers of the words of each caption, and how many different words there are."""
    position = {word: i for i, word in enumerate(sorted({word for caption in captions for word in caption.split()}))}
    return [torch.tensor([position[word] for word in caption.split()]) for caption in captions], len(position)


def count_words(captions: list[Tensor], num_words: int) -> Tensor:
    """How often each caption, given as the numbers of its words, holds each word: (captions, words) float32."""
    return torch.stack([torch.bincount(words, minlength=num_words).float() for words in captions])


def contrastive_loss(images: Tensor, texts: Tensor, caption: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss in which all images of one caption belong together, as few captions describe many images.

    Args:
        images: embeddings (B, C) of the images.
        texts: those of their captions.
        caption: (B,) the number of each image's caption.
        scale: of the cosines.
    """
    logits = scale * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    target = F.normalize((caption[:, None] == caption).float(), p=1, dim=1)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def read_pairs(folder: Path) -> list[tuple[Path, str]]:
    """Image files with their captions.

    Raises:
        InputError: if there are no images, one has neither a caption nor a class folder, or ``captions.tsv`` is wrong.
    """
    table = folder.parent / 'captions.tsv'
    if table.is_file():
        rows = [line.split('\t', 1) for line in table.read_text().splitlines()]
        for number, row in enumerate(rows, start=1):
            if len(row) != 2 or not row[1].strip():
                raise InputError(f"line {number} of {str(table)!r} must be an image's path, a tab and its caption")
        if not rows:
            raise InputError(f'{str(table)!r} is empty. Write a line path<TAB>caption for each image, or delete it.')
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
    """Trains and writes the image tower into the folder ``out``."""
    pairs = read_pairs(args.folder)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    images = load_images([path for path, _ in pairs], args.img_size + MARGIN)
    captions = sorted({caption for _, caption in pairs})
    words, num_words = number_words(captions)
    position = {caption: i for i, caption in enumerate(captions)}
    caption_of = torch.tensor([position[caption] for _, caption in pairs])
    tower, text = ImageTower(args.width), text_tower(num_words, args.width)
    log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    batch = min(args.batch_size, len(pairs))
    steps = args.epochs * (len(pairs) // batch)
    weights = [*tower.parameters(), *text.parameters()]
    groups: list[dict] = [{'params': weights}, {'params': [log_scale], 'weight_decay': 0}]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / (0.1 * steps)) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))),
    )
    start = time.monotonic()
    for epoch in range(args.epochs):
        order = torch.randperm(len(pairs), generator=generator)
        total = 0.0
        for index in order[: len(order) // batch * batch].split(batch):
            features = tower(augment(images[index], args.img_size, generator)).mean(dim=(2, 3))
            caption = caption_of[index]
            counts = count_words([words[i] for i in caption.tolist()], num_words)  # of a batch: there may be many
            loss = contrastive_loss(features, text(counts), caption, log_scale.exp())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                log_scale.clamp_(0, math.log(100))
            total += loss.item()
        sys.stdout.write(
            f'epoch {epoch + 1}/{args.epochs}  loss {total / max(1, len(order) // batch):.3f}  '
            f'{time.monotonic() - start:.0f} s\n'
        )
        sys.stdout.flush()
    saved = {'width': args.width, 'img_size': args.img_size, 'state_dict': tower.state_dict()}
    torch.save(saved, out / WRITTEN[0])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of images in class folders')
    parser.add_argument('out', type=Path, help='folder to write the model to')
    for name, default in {'img-size': 48, 'width': 128, 'epochs': 5, 'batch-size': 64, 'lr': 3e-3, 'seed': 0}.items():
        parser.add_argument(f'--{name}', type=type(default), default=default, help='default: %(default)s')
    args = parser.parse_args(argv)
    with one_sentence_errors('demo.clip'):
        if args.folder.resolve().is_relative_to(args.out.resolve()):
            raise InputError(
                f'{str(args.out)!r} contains the images {str(args.folder)!r}. Choose another output folder.'
            )
        for name, least in _LEAST.items():
            if getattr(args, name) < least:
                raise InputError(f'--{name.replace("_", "-")} must be at least {least}')
        with replacing_folder(args.out, TOOL, WRITTEN) as partial:
            train(args, partial)


if __name__ == '__main__':
    main()
