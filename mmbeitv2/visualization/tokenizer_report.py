"""How good a tokenizer's codes are on a folder of images: numbers, and one HTML page with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import ColorJitter
from tqdm import tqdm

from mmbeitv2.datasets.resizing import fit_image
from mmbeitv2.evaluation import codebook_statistics
from mmbeitv2.evaluation import codes as measures
from mmbeitv2.evaluation.codes import Measure
from mmbeitv2.inference.visual_tokenizer import VisualTokenizer
from mmbeitv2.visualization.pages import image, render_page
from mmbeitv2.visualization.pictures import (
    code_colors,
    codes_by_use,
    draw_codebook,
    draw_grid,
    draw_usage,
    encode_figure,
)

# As in pretraining: brightness, contrast and saturation by factors of 0.6 to 1.4.
JITTER = 0.4
Number = float | Measure

_MEANING = {
    'codebook_usage': 'percent of the codes that occur',
    'perplexity': 'number of equally frequent codes that would have the same entropy',
    'codes_per_image': 'different codes in an image',
    'neighbor_agreement': 'neighboring patches with the same code',
    'label_information': "share of the labels' entropy that the codes explain",
    'label_purity': 'patches that have the most frequent label of their code',
    'stable_flip': 'codes that stay the same in the mirror image',
    'stable_crop': 'codes that stay the same in a crop shifted by one patch',
    'stable_jitter': 'codes that stay the same after color jitter',
}


class Judged(NamedTuple):
    """The results of one tokenizer."""

    name: str  # of its checkpoint
    numbers: dict[str, Number]  # by name, see _MEANING
    images: np.ndarray  # (n, H, W, 3) uint8, as it saw them
    codes: np.ndarray  # (n, h, w)
    num_codes: int
    colors: np.ndarray  # (num_codes, 3) in [0, 1]


def judge(tokenizer: VisualTokenizer, paths: Sequence[str | Path], labels: np.ndarray | None, name: str) -> Judged:
    """Tokenizes images, changed in four ways too.

    Args:
        tokenizer: the tokenizer.
        paths: image files.
        labels: (n, h·w) of the patches, below 0 for none; None if there are no labels.
        name: for the report.
    """
    parts = [_codes_of_batch(tokenizer, paths[i : i + 32], i) for i in tqdm(range(0, len(paths), 32), unit='batch')]
    images, codes, flipped, first, second, jittered = (np.concatenate(part) for part in zip(*parts, strict=True))
    counts = torch.bincount(torch.from_numpy(codes).flatten(), minlength=tokenizer.num_codes)
    numbers: dict[str, Number] = {
        **codebook_statistics(counts),
        'codes_per_image': measures.codes_per_image(codes),
        'neighbor_agreement': measures.neighbor_agreement(codes),
    }
    if labels is not None:
        flat = codes.reshape(len(codes), -1)
        numbers |= {
            'label_information': measures.label_information(flat, labels),
            'label_purity': measures.purity(flat, labels),
        }
    numbers |= {'stable_flip': measures.stability(codes, flipped[:, :, ::-1])}
    if min(tokenizer.grid_size) > 1:
        numbers |= {'stable_crop': measures.stability(first[:, 1:, 1:], second[:, :-1, :-1])}
    if tokenizer.channels is None:  # else the channels are no colors
        numbers |= {'stable_jitter': measures.stability(codes, jittered)}
    return Judged(name, numbers, images, codes, tokenizer.num_codes, code_colors(tokenizer.model))


def _codes_of_batch(tokenizer: VisualTokenizer, paths: Sequence[str | Path], start: int) -> tuple[np.ndarray, ...]:
    """Pictures (n, H, W, 3), and codes (n, h, w): as they are, mirrored, of two crops one patch apart, jittered."""
    height, width = tokenizer.image_size
    side = tokenizer.model.patch_size
    tensors = [tokenizer.read(path) for path in paths]
    plain = torch.stack([fit_image(image, (height, width), tokenizer.fit) for image in tensors])
    larger = torch.stack([fit_image(image, (height + side, width + side), tokenizer.fit) for image in tensors])
    jittered = _jittered(plain, start) if tokenizer.channels is None else plain
    views = (plain, plain.flip(-1), larger[..., :-side, :-side], larger[..., side:, side:], jittered)
    return tokenizer.pictures(plain).permute(0, 2, 3, 1).numpy(), *(tokenizer.tokenize(view).numpy() for view in views)


def _jittered(images: Tensor, start: int) -> Tensor:
    """Each image with changes of its own, drawn by its number."""
    jitter = ColorJitter(brightness=JITTER, contrast=JITTER, saturation=JITTER)
    changed = []
    with torch.random.fork_rng(devices=[]):
        for i, image in enumerate(images, start):
            torch.manual_seed(i)
            changed.append(jitter(image))
    return torch.stack(changed)


def table(judged: Sequence[Judged], num_images: int) -> str:
    """The numbers for the terminal, one column for each tokenizer, chance in brackets."""
    lines = [f'{num_images} images' + (', by chance in brackets' if judged else '')]
    lines += [f'({i}) {each.name}' for i, each in enumerate(judged, 1)]
    lines.append(f'{"":22}' + ''.join(f'{f"({i})":>18}' for i in range(1, len(judged) + 1)))
    for name in judged[0].numbers:
        cells = ''.join(f'{_text(each.numbers.get(name)):>18}' for each in judged)
        lines.append(f'{name:22}{cells}  {_MEANING[name]}')
    return '\n'.join(lines) + '\n'


def _text(number: Number | None) -> str:
    if number is None:
        return ''
    if isinstance(number, Measure):
        return f'{100 * number.value:.1f} % ({100 * number.chance:.1f} %)'
    return f'{number:.1f}'


def as_json(judged: Sequence[Judged]) -> list[dict]:
    """The numbers of each tokenizer; a share has its ``value`` and its ``chance``, both in [0, 1]."""
    return [
        {'num_codes': each.num_codes}
        | {key: value._asdict() if isinstance(value, Measure) else value for key, value in each.numbers.items()}
        for each in judged
    ]


def page(judged: Sequence[Judged], title: str) -> str:
    """One HTML page without other files: numbers, some code maps, use of the codes, and patches of some codes."""
    numbers = [('', *(each.name for each in judged), '')]
    for name in judged[0].numbers:
        numbers.append((name, *(_text(each.numbers.get(name)) for each in judged), _MEANING[name]))
    tables = {'Numbers': numbers, **{each.name: _pictures(each) for each in judged}}
    return render_page(title, 'By chance in brackets.', tables)


def _pictures(judged: Judged, count: int = 12) -> list[tuple]:
    order = codes_by_use(judged.codes)
    maps = {'image': judged.images[:count], 'codes': judged.colors[judged.codes[:count]]}
    figures = {
        'Images and their codes: patches of one color have the same code': draw_grid(maps)[0],
        'Use of the codes': draw_usage(judged.codes, judged.num_codes),
        'The most used codes': draw_codebook(judged.images, judged.codes, order[:8]),
        'The least used codes': draw_codebook(judged.images, judged.codes, order[-8:][::-1]),
    }
    return [(title, image(encode_figure(figure))) for title, figure in figures.items()]
