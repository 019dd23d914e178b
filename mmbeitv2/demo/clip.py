"""A small CLIP, trained on a folder of captioned images in less than a minute: the quickstart's teacher.

    python -m mmbeitv2.demo.clip DIR OUT

DIR holds images in class folders and, if there are captions, ``captions.tsv`` (``path<TAB>caption``) beside them;
without it the caption of an image is the name of its folder. OUT becomes a folder that
``SmallCLIPTeacher(folder='OUT')`` reads. A config that names this teacher imports it by
``custom_imports=dict(imports=['mmbeitv2.demo.clip'])``.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbeitv2.apis.visual_tokenizer import to_tensor
from mmbeitv2.datasets import find_images
from mmbeitv2.datasets.resizing import fit_image
from mmbeitv2.errors import InputError, one_sentence_errors
from mmbeitv2.fileio.folders import replacing_folder
from mmbeitv2.models.tokenizers import FrozenTeacher
from mmbeitv2.registry import MODELS

MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
# Room for the margin that random crops need, in pixels.
MARGIN = 6
# Name in the mark of the folder that is written, and what is in it.
TOOL = 'mmbeitv2.demo.clip'
WRITTEN = ('small_clip.pth',)


class ImageTower(nn.Module):
    """A convolutional network whose feature map has a cell for every 8x8 pixels.

    Its image embedding is the mean of the map, so that the cells themselves are drawn to the captions. The map ends
    with a batch norm: without it, the features of all cells share a large mean, and the cosine in VQ-KD's loss hardly
    tells them apart.

    Args:
        width: channels of the last stage and of the embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = [(3, width // 4, 2), (width // 4, width // 2, 2), (width // 2, width // 2, 1), (width // 2, width, 2)]
        sizes += [(width, width, 1)] * 2
        layers: list[nn.Module] = []
        for inputs, outputs, stride in sizes:
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.proj = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width, affine=False))

    def forward(self, images: Tensor) -> Tensor:
        """Feature map (B, width, H/8, W/8) of normalized images (B, 3, H, W)."""
        return self.proj(self.layers(images))


@MODELS.register_module()
class SmallCLIPTeacher(FrozenTeacher):
    """The image tower of a CLIP that ``python -m mmbeitv2.demo.clip`` has trained.

    Args:
        folder: what that command wrote.
    """

    def __init__(self, folder: str) -> None:
        file = Path(folder) / WRITTEN[0]
        if not file.is_file():
            raise InputError(
                f'teacher folder {folder!r} has no {WRITTEN[0]}. Make it by python -m mmbeitv2.demo.clip IMAGES '
                f'{folder}.'
            )
        saved = torch.load(file, map_location='cpu', weights_only=True)
        tower = ImageTower(saved['width'])
        tower.load_state_dict(saved['state_dict'])
        super().__init__(tower, saved['img_size'], MEAN, STD, precision='float32')
        self.embed_dims = saved['width']

    def patch_features(self, images: Tensor) -> Tensor:
        return self.module(images)


def text_tower(num_words: int, width: int) -> nn.Module:
    """Embeds a caption, given as the number of times that it holds each word: the order of words does not count."""
    return nn.Sequential(nn.Linear(num_words, width), nn.ReLU(), nn.Linear(width, width))


def count_words(captions: list[str]) -> Tensor:
    """How often each caption holds each word of all captions, (captions, words) float32."""
    position = {word: i for i, word in enumerate(sorted({word for caption in captions for word in caption.split()}))}
    counts = torch.zeros(len(captions), len(position))
    for row, caption in zip(counts, captions, strict=True):
        for word in caption.split():
            row[position[word]] += 1
    return counts


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
    """Trains and writes the image tower into the folder ``out``."""
    pairs = read_pairs(args.folder)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    images = load_images([path for path, _ in pairs], args.img_size + MARGIN)
    captions = sorted({caption for _, caption in pairs})
    words = count_words(captions)
    position = {caption: i for i, caption in enumerate(captions)}
    caption_of = torch.tensor([position[caption] for _, caption in pairs])
    tower, text = ImageTower(args.width), text_tower(words.shape[1], args.width)
    log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    batch = min(args.batch_size, len(pairs))
    steps = args.epochs * (len(pairs) // batch)
    weights = [*tower.parameters(), *text.parameters()]
    optimizer = torch.optim.AdamW(
        [{'params': weights}, {'params': [log_scale], 'weight_decay': 0}],
        lr=args.lr,
        betas=(0.9, 0.98),
        weight_decay=0.05,
    )
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
            loss = contrastive_loss(features, text(words[caption]), caption, log_scale.exp())
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of images in class folders')
    parser.add_argument('out', type=Path, help='folder to write the model to')
    parser.add_argument('--img-size', type=int, default=48)
    parser.add_argument('--width', type=int, default=128)
    parser.add_argument('--epochs', type=int, default=5)
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--lr', type=float, default=3e-3)
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
