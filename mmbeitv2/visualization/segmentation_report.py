"""A segmentation on its test set: scores of each class, confusions, the worst images, as files and as one page."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import Runner
from mmengine.runner.amp import autocast
from prettytable import PrettyTable
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from mmbeitv2.errors import InputError
from mmbeitv2.evaluation.confusion import Confusion
from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.inference.config import read_config
from mmbeitv2.inference.loading import load_model
from mmbeitv2.inference.visual_tokenizer import to_tensor
from mmbeitv2.visualization.pages import address, fill_page
from mmbeitv2.visualization.pictures import write_picture
from mmbeitv2.visualization.segmentation import draw_confusion, draw_segmentations

# What a report consists of, see mmbeitv2.fileio.folders.
WRITTEN = (
    'index.html', 'report.json', 'classes.csv', 'images.csv', 'confusion.csv', 'confusion.png', 'worst/*.jpg',
    'examples/*.jpg',
)  # fmt: skip
# Pictures of each kind at most: the page holds all of them.
MAX_PICTURES = 100


@torch.no_grad()
def report_segmentation(
    config: str, checkpoint: str, out: Path, num_images: int = 8, cfg_options: Sequence[str] | dict | None = None
) -> str:
    """Scores a checkpoint on the test set of its config, and writes the files of ``WRITTEN``.

    Args:
        config: of the segmentation.
        checkpoint: its weights.
        out: existing folder to write into.
        num_images: pictures of the images with the lowest mean IoU, and of others, spread evenly over the test set.
        cfg_options: see :func:`mmbeitv2.apis.read_config`.

    Returns:
        The scores as a table.

    Raises:
        InputError: if the config is not of a segmentation, or has no labeled test set, or does not fit the checkpoint.
    """
    cfg = read_config(config, cfg_options)
    if cfg.get('test_dataloader') is None:
        raise InputError(f'config {config!r} has no test set. Pass the config of a segmentation with test_dataloader.')
    model = load_model(cfg, checkpoint, device='cuda' if torch.cuda.is_available() else 'cpu')
    if not hasattr(model, 'encode_decode'):
        raise InputError(f'the model of {config!r} is not a segmentor. Pass the config of a segmentation.')
    model = revert_sync_batchnorm(model).eval()
    loader = Runner.build_dataloader(cfg.test_dataloader)
    confusion, palette = _confusion_of(loader, cfg.get('test_evaluator'))
    fp16 = bool((cfg.get('test_cfg') or {}).get('fp16'))
    scores: list[tuple[str, float]] = []  # path and mean IoU of each image
    for batch in tqdm(loader, unit='batch'):
        with autocast(enabled=fp16):
            samples = model.test_step(batch)
        scores += [(path, _add(confusion, path, *maps)) for path, *maps in map(_maps, samples)]
    if not confusion.counts.any():
        raise InputError(f'all pixels of all label images have the label {confusion.ignore_index}, which is ignored')

    ranks = np.argsort([miou for _, miou in scores], kind='stable')  # NaN, of an image without labels, comes last
    table = _write_numbers(confusion, palette, [scores[i] for i in ranks], out)
    summary = {'config': config, 'checkpoint': checkpoint, 'num_images': len(scores), **table}
    AtomicBackend().put_text(
        json.dumps(summary | {'confusion': confusion.counts.tolist()}, indent=1), out / 'report.json'
    )
    write_picture(draw_confusion(confusion.classes, confusion.shares()), out / 'confusion.png', dpi=120)
    pictures: dict[str, Any] = {'confusion': address('png', (out / 'confusion.png').read_bytes())}
    worst = [int(i) for i in ranks if not np.isnan(scores[i][1])][:num_images]
    examples = np.linspace(0, len(scores) - 1, min(num_images, len(scores))).astype(int).tolist()
    for kind, chosen in (('worst', worst), ('examples', examples)):
        pictures[kind] = []
        for rank, i in enumerate(chosen, start=1):
            with autocast(enabled=fp16):
                (sample,) = model.test_step(pseudo_collate([loader.dataset[i]]))
            picture = _draw(sample, scores[i][1], confusion.classes, palette, out / kind, rank)
            pictures[kind].append(address('jpeg', picture.read_bytes()))
    AtomicBackend().put_text(fill_page('segmentation_page.html', summary | pictures), out / 'index.html')
    return _table(table)


def _confusion_of(loader: DataLoader, evaluators: Any) -> tuple[Confusion, np.ndarray]:
    """An empty matrix of the test set's classes, by the settings of its ``IoUMetric``, and their colors."""
    meta = getattr(loader.dataset, 'metainfo', {})
    if not meta.get('classes') or not meta.get('palette'):
        raise InputError(
            'the test set does not name its classes and their colors. Set metainfo=dict(classes=..., palette=...) in '
            'test_dataloader.dataset.'
        )
    settings: dict = next((each for each in np.atleast_1d(evaluators) if 'ignore_index' in (each or {})), {})
    confusion = Confusion(meta['classes'], settings.get('ignore_index', 255), settings.get('nan_to_num'))
    return confusion, np.array(meta['palette'], dtype=np.uint8)


def _maps(sample: Any) -> tuple[str, Tensor, Tensor]:
    """Path, prediction (H, W) and truth (H, W) of an image that went through a segmentor."""
    path = str(sample.metainfo.get('img_path'))
    if 'gt_sem_seg' not in sample:
        raise InputError(f'image {path!r} has no labels. Put LoadAnnotations into the pipeline of the test set.')
    prediction, truth = (part.data.squeeze(0) for part in (sample.pred_sem_seg, sample.gt_sem_seg))
    if prediction.shape != truth.shape:
        raise InputError(
            f'the prediction for {path!r} has shape {tuple(prediction.shape)}, but its labels have shape '
            f'{tuple(truth.shape)}. Put LoadAnnotations after Resize in the pipeline of the test set, so that labels '
            'keep their size.'
        )
    return path, prediction, truth


def _add(confusion: Confusion, path: str, prediction: Tensor, truth: Tensor) -> float:
    try:
        return confusion.add(prediction, truth)
    except InputError as error:
        raise InputError(f'image {path!r}: {error}') from error


def _write_numbers(confusion: Confusion, palette: np.ndarray, images: Sequence[tuple[str, float]], out: Path) -> dict:
    """Writes the tables, and returns what the page shows of them: shares in percent, None for what does not occur."""
    scores, shares, pixels = confusion.scores(), confusion.shares(), confusion.counts.sum(1).double()
    rows: list[dict[str, Any]] = [
        {'class': name, 'IoU': _percent(iou), 'Acc': _percent(acc), 'share': _percent(share)}
        for name, iou, acc, share in zip(
            confusion.classes, scores['IoU'], scores['Acc'], (pixels / pixels.sum()).tolist(), strict=True
        )
    ]
    tables: dict[str, tuple[Iterable, Iterable[Iterable]]] = {
        'classes': (rows[0], (row.values() for row in rows)),
        'images': (('image', 'mIoU'), ((path, _percent(miou)) for path, miou in images)),
        'confusion': (
            ('true class', *confusion.classes),
            ([name, *map(_percent, line)] for name, line in zip(confusion.classes, shares, strict=True)),
        ),
    }
    for name, (header, lines) in tables.items():
        stream = io.StringIO()
        csv.writer(stream, lineterminator='\n').writerows((header, *lines))
        text = stream.getvalue().encode(errors='replace').decode()  # names of files need not be Unicode
        AtomicBackend().put_text(text, out / f'{name}.csv')
    colors = ['#{:02x}{:02x}{:02x}'.format(*color) for color in palette]
    classes = [row | {'color': color} for row, color in zip(rows, colors, strict=True)]
    return {'summary': confusion.summary(), 'classes': classes}


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else round(100 * float(value), 2)


def _table(numbers: dict) -> str:
    table = PrettyTable(['class', 'IoU', 'Acc'], align='r')
    table.align['class'] = 'l'
    for row in numbers['classes']:
        table.add_row([row['class'], *('-' if row[key] is None else f'{row[key]:.2f}' for key in ('IoU', 'Acc'))])
    return f'{table}\n' + '  '.join(f'{name} {value:.2f}' for name, value in numbers['summary'].items())


def _draw(sample: Any, miou: float, classes: Sequence[str], palette: np.ndarray, folder: Path, rank: int) -> Path:
    """Writes a picture of an image, its labels and the prediction; its number keeps apart images of one name."""
    path, prediction, truth = _maps(sample)
    height, width = truth.shape
    pixels = to_tensor(path).permute(1, 2, 0).numpy()
    if pixels.shape[:2] != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    maps = {'truth': [truth.cpu().numpy()], f'prediction, mIoU {100 * miou:.1f}': [prediction.cpu().numpy()]}
    name = os.fsencode(Path(path).name).decode(errors='replace')  # without what no font has
    out = folder / f'{rank:03d}_{Path(name).stem[:50]}.jpg'
    write_picture(draw_segmentations([pixels], maps, classes, palette, [name]), out, dpi=150)
    return out
