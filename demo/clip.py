"""A small CLIP, trained on a folder of captioned images in about a minute: the quickstart's teacher.

    python -m demo.clip DIR OUT

DIR holds images in class folders, and beside it stands ``captions.tsv`` if it is the sample set; the caption of any
other image is the name of its folder. ``OUT/small_clip.pth`` is written, which
``SmallCLIPTeacher(pretrained='OUT/small_clip.pth')`` reads.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor, nn

from mmbeitv2.datasets import find_images
from mmbeitv2.datasets.resizing import fit_image
from mmbeitv2.inference.visual_tokenizer import to_tensor
from mmbeitv2.registry import MODELS
from mmbeitv2.teachers import FrozenTeacher

# Of CLIP's images in [0, 1], as open_clip has them; importing it takes a second.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# Of the images in pixels, and what their random crops need beyond it; channels of the embeddings; images of a step.
IMG_SIZE, MARGIN = 48, 6
WIDTH = 128
BATCH_SIZE = 64
LEARNING_RATE = 3e-3


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
    """The image tower of a CLIP that ``python -m demo.clip`` has trained.

    Args:
        pretrained: ``small_clip.pth``, which that command wrote.
        settings: ``precision``, ``standardize`` and ``standardize_batches`` of :class:`FrozenTeacher`.
    """

    def __init__(self, pretrained: str, **settings: Any) -> None:
        saved = torch.load(pretrained, map_location='cpu', weights_only=True)
        tower = ImageTower(saved['width'])
        tower.load_state_dict(saved['state_dict'])
        super().__init__(tower, saved['width'], saved['img_size'], MEAN, STD, **settings)

    def patch_features(self, images: Tensor) -> Tensor:
        return self.module(images)


def count_words(captions: Sequence[str]) -> Tensor:
    """How often each caption holds each word of them all: (captions, words) float32."""
    counts = CountVectorizer(token_pattern=r'\S+', lowercase=False).fit_transform(captions)
    return torch.from_numpy(counts.toarray()).float()


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
    """Image files with their captions, those of ``captions.tsv`` or the names of the class folders."""
    table = folder.parent / 'captions.tsv'
    if table.is_file():
        rows = [line.split('\t') for line in table.read_text().splitlines()]
        return [(folder.parent / path, caption) for path, caption in rows]
    return [(folder / file, Path(file).parts[0].replace('_', ' ')) for file in find_images(folder)]


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


def train(folder: Path, out: Path, epochs: int) -> None:
    """Trains on the images of a folder, and writes the image tower into the folder ``out``."""
    pairs = read_pairs(folder)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    images = load_images([path for path, _ in pairs], IMG_SIZE + MARGIN)
    captions, caption_of = np.unique([caption for _, caption in pairs], return_inverse=True)
    words, labels = count_words(captions.tolist()), torch.from_numpy(caption_of)
    tower = ImageTower(WIDTH)
    # Embeds the counts of a caption's words; their order does not matter.
    text = nn.Sequential(nn.Linear(words.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
    log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    batch = min(BATCH_SIZE, len(pairs))
    steps = epochs * (len(pairs) // batch)
    weights = [*tower.parameters(), *text.parameters()]
    groups: list[dict] = [{'params': weights}, {'params': [log_scale], 'weight_decay': 0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / (0.1 * steps)) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))),
    )
    start = time.monotonic()
    for epoch in range(epochs):
        order = torch.randperm(len(pairs), generator=generator)
        total = 0.0
        for index in order[: len(order) // batch * batch].split(batch):
            features = tower(augment(images[index], IMG_SIZE, generator)).mean(dim=(2, 3))
            caption = labels[index]
            loss = contrastive_loss(features, text(words[caption]), caption, log_scale.exp())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                log_scale.clamp_(0, math.log(100))
            total += loss.item()
        mean = total / (steps // epochs)
        sys.stdout.write(f'epoch {epoch + 1}/{epochs}  loss {mean:.3f}  {time.monotonic() - start:.0f} s\n')
        sys.stdout.flush()
    out.mkdir(parents=True, exist_ok=True)
    saved = {'width': WIDTH, 'img_size': IMG_SIZE, 'state_dict': tower.state_dict()}
    torch.save(saved, out / 'small_clip.pth')


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, metavar='DIR', help='folder of images in class folders')
    parser.add_argument('out', type=Path, metavar='OUT', help='folder to write the model to')
    parser.add_argument('--epochs', type=int, default=5, help='default: %(default)s')
    args = parser.parse_args(argv)
    from mmbeitv2_tools.errors import one_sentence_errors

    with one_sentence_errors('demo.clip'):
        train(args.folder, args.out, args.epochs)


if __name__ == '__main__':
    main()
