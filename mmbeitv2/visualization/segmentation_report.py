"""A segmentation on its test set: scores of each class, confusions and the worst images, on one page."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from markupsafe import Markup
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
from mmbeitv2.inference.config import read_config, scope_of
from mmbeitv2.inference.loading import load_model
from mmbeitv2.inference.visual_tokenizer import to_tensor
from mmbeitv2.visualization.pages import Section, image, render_page
from mmbeitv2.visualization.pictures import encode_figure
from mmbeitv2.visualization.segmentation import draw_confusion, draw_segmentations


@torch.no_grad()
def report_segmentation(
    config: str, checkpoint: str, out: Path, num_images: int = 8, cfg_options: Sequence[str] | dict | None = None
) -> str:
    """Scores a checkpoint on the test set of its config, and writes index.html and report.json.

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
    with scope_of(cfg):
        loader = Runner.build_dataloader(cfg.test_dataloader)
    confusion, palette = _confusion_of(loader, cfg.get('test_evaluator'))
    fp16 = bool((cfg.get('test_cfg') or {}).get('fp16'))
    scores = [
        (path, _add(confusion, path, prediction, truth))
        for batch in tqdm(loader, unit='batch')
        for path, prediction, truth in _predict(model, batch, fp16)
    ]
    if not confusion.counts.any():
        raise InputError(f'all pixels of all label images have the label {confusion.ignore_index}, which is ignored')

    def pictures_of(indices: Iterable[int]) -> list[Markup]:
        pictures = []
        for i in indices:
            (seen,) = _predict(model, pseudo_collate([loader.dataset[i]]), fp16)
            pictures.append(_draw(*seen, scores[i][1], confusion.classes, palette))
        return pictures

    ranks = np.argsort([miou for _, miou in scores], kind='stable')  # NaN, of an image without labels, comes last
    classes, summary = _class_scores(confusion), confusion.summary()
    report = {
        'config': config,
        'checkpoint': checkpoint,
        'summary': summary,
        'classes': classes,
        'confusion': confusion.counts.tolist(),
        'images': [(scores[i][0], _percent(scores[i][1])) for i in ranks],
    }
    (out / 'report.json').write_text(json.dumps(report, indent=1))

    rows = [
        [name, *('-' if value is None else f'{value:.2f}' for value in row.values())] for name, row in classes.items()
    ]
    figure = draw_confusion(confusion.classes, confusion.shares())
    worst = [i for i in ranks if not np.isnan(scores[i][1])][:num_images]
    examples = np.linspace(0, len(scores) - 1, min(num_images, len(scores))).astype(int)
    sections = [
        Section('Classes', ('class', 'IoU', 'accuracy', 'share of pixels'), rows),
        Section('Confusions', pictures={'': [image(encode_figure(figure))]}),
        Section(
            'Worst images', pictures={'The lowest mean IoU over the classes of the image first': pictures_of(worst)}
        ),
        Section('Examples', pictures={'Spread evenly over the test set': pictures_of(examples)}),
    ]
    headline = '  '.join(f'{name} {value:.2f}' for name, value in summary.items())
    text = f'{len(scores)} images, config {config}, checkpoint {checkpoint}. White pixels have no label.'
    (out / 'index.html').write_text(render_page(f'Segmentation: {headline}', text, sections), encoding='utf-8')
    table = PrettyTable(['class', 'IoU', 'Acc'], align='r')
    table.align['class'] = 'l'
    table.add_rows([row[:3] for row in rows])
    return f'{table}\n{headline}'


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


def _predict(model: Any, batch: dict, fp16: bool) -> list[tuple[str, Tensor, Tensor]]:
    """Path, prediction (H, W) and truth (H, W) of each image of a batch."""
    with autocast(enabled=fp16):
        samples = model.test_step(batch)
    return [(str(each.img_path), each.pred_sem_seg.data[0], each.gt_sem_seg.data[0]) for each in samples]


def _add(confusion: Confusion, path: str, prediction: Tensor, truth: Tensor) -> float:
    try:
        return confusion.add(prediction, truth)
    except InputError as error:
        raise InputError(f'image {path!r}: {error}') from error


def _class_scores(confusion: Confusion) -> dict[str, dict[str, float | None]]:
    """IoU, accuracy and share of the pixels of each class, in percent, None for a class that does not occur."""
    scores = confusion.scores()
    shares = (confusion.counts.sum(1) / confusion.counts.sum()).numpy()
    columns = zip(confusion.classes, scores['IoU'], scores['Acc'], shares, strict=True)
    return {
        name: {'IoU': _percent(iou), 'Acc': _percent(acc), 'share': _percent(share)}
        for name, iou, acc, share in columns
    }


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else round(100 * float(value), 2)


def _draw(
    path: str, prediction: Tensor, truth: Tensor, miou: float, classes: Sequence[str], palette: np.ndarray
) -> Markup:
    """A picture of an image, its labels and the prediction."""
    pixels = to_tensor(path).permute(1, 2, 0).numpy()
    if pixels.shape[:2] != truth.shape:
        pixels = cv2.resize(pixels, truth.shape[::-1], interpolation=cv2.INTER_AREA)
    maps = {'truth': [truth.cpu().numpy()], f'prediction, mIoU {100 * miou:.1f}': [prediction.cpu().numpy()]}
    name = os.fsencode(Path(path).name).decode(errors='replace')  # without what no font has
    figure = draw_segmentations([pixels], maps, classes, palette, name)
    return image(encode_figure(figure, 'jpeg', dpi=150), 'jpeg')
