"""A segmentation on its test set: scores of each class, confusions, the worst images, as files and as one page."""

from __future__ import annotations

import csv
import heapq
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import Runner
from mmengine.runner.amp import autocast
from prettytable import PrettyTable
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

# What write_report writes, see mmbeitv2.fileio.folders.
WRITTEN = (
    'index.html', 'report.json', 'classes.csv', 'images.csv', 'confusion.csv', 'confusion.png', 'worst/*.jpg',
    'examples/*.jpg',
)  # fmt: skip
# Pictures of each kind at most: the page holds all of them.
MAX_PICTURES = 100
_NUM_CONFUSIONS = 20


@dataclass
class SegmentedImage:
    """An image of the test set, its label map and the predicted one.

    Args:
        path: of the image.
        miou: its mean IoU in [0, 1], see :meth:`Confusion.add`.
        truth: (H, W) int.
        prediction: (H, W) int.
    """

    path: str
    miou: float
    truth: np.ndarray
    prediction: np.ndarray

    @property
    def name(self) -> str:
        """Name of the file, without what no font has."""
        return os.fsencode(Path(self.path).name).decode(errors='replace')


@dataclass
class SegmentationReport:
    """What a segmentation does on its test set.

    Args:
        source: ``config`` and ``checkpoint``.
        confusion: over all images.
        palette: (classes, 3) uint8.
        mious: path and mean IoU of each image.
        worst: images of the lowest mean IoU, the lowest first.
        examples: images spread evenly over the test set.
    """

    source: dict[str, str]
    confusion: Confusion
    palette: np.ndarray
    mious: list[tuple[str, float]] = field(default_factory=list)
    worst: list[SegmentedImage] = field(default_factory=list)
    examples: list[SegmentedImage] = field(default_factory=list)

    def class_rows(self) -> list[dict[str, Any]]:
        """Name, color, IoU, accuracy and share of pixels of each class, in percent; None if it does not occur."""
        scores, pixels = self.confusion.scores(), self.confusion.counts.sum(1).double()
        return [
            {
                'class': name,
                'color': '#{:02x}{:02x}{:02x}'.format(*self.palette[i]),
                'IoU': _percent(scores['IoU'][i]),
                'Acc': _percent(scores['Acc'][i]),
                'share': _percent(float(pixels[i] / pixels.sum())),
            }
            for i, name in enumerate(self.confusion.classes)
        ]

    def frequent_confusions(self) -> list[dict[str, Any]]:
        """The largest shares of a true class that are taken for another class."""
        shares = np.nan_to_num(self.confusion.shares())
        np.fill_diagonal(shares, 0)
        classes = self.confusion.classes
        places = [divmod(int(i), len(classes)) for i in shares.ravel().argsort(kind='stable')[::-1][:_NUM_CONFUSIONS]]
        return [
            {'true': classes[row], 'predicted': classes[column], 'share': _percent(shares[row, column])}
            for row, column in places
            if shares[row, column] > 0
        ]

    def table(self) -> str:
        """Scores of the classes for the terminal."""
        table = PrettyTable(['class', 'IoU', 'Acc'], align='r')
        table.align['class'] = 'l'
        for row in self.class_rows():
            table.add_row([row['class'], *('-' if row[key] is None else f'{row[key]:.2f}' for key in ('IoU', 'Acc'))])
        means = '  '.join(f'{name} {value:.2f}' for name, value in self.confusion.summary().items())
        return f'{table}\n{means}'


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else round(100 * float(value), 2)


@torch.no_grad()
def report_segmentation(
    config: str, checkpoint: str, num_images: int, cfg_options: Sequence[str] | dict | None = None
) -> SegmentationReport:
    """Scores a checkpoint on the test set of its config, with the label maps of some images.

    Args:
        config: of the segmentation.
        checkpoint: its weights.
        num_images: images in ``worst`` and in ``examples``, each.
        cfg_options: see :func:`mmbeitv2.apis.read_config`.

    Raises:
        InputError: if the config is not of a segmentation, or has no labeled test set, or does not fit the checkpoint.
    """
    if num_images > MAX_PICTURES:
        raise InputError(f'{num_images} images are too many for one page. Choose {MAX_PICTURES} or fewer.')
    cfg = read_config(config, cfg_options)
    if cfg.get('test_dataloader') is None:
        raise InputError(f'config {config!r} has no test set. Pass the config of a segmentation with test_dataloader.')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model = revert_sync_batchnorm(load_model(cfg, checkpoint, device=device)).eval()
    if not hasattr(model, 'encode_decode'):
        raise InputError(f'the model of {config!r} is not a segmentor. Pass the config of a segmentation.')
    loader = Runner.build_dataloader(cfg.test_dataloader)
    confusion, palette = _confusion_of(loader, cfg.get('test_evaluator'))
    report = SegmentationReport({'config': config, 'checkpoint': checkpoint}, confusion, palette)
    size = len(loader.dataset)  # type: ignore[arg-type]
    chosen = set(np.linspace(0, size - 1, min(num_images, size)).astype(int).tolist())
    worst: list[tuple[float, int, SegmentedImage]] = []  # a heap whose first is the best of them
    with tqdm(total=size, unit='image') as progress:
        for batch in loader:
            with autocast(enabled=bool((cfg.get('test_cfg') or {}).get('fp16'))):
                samples = model.test_step(batch)
            for sample in samples:
                number = len(report.mious)
                image = _score(sample, confusion)
                report.mious.append((image.path, image.miou))
                if number in chosen:
                    report.examples.append(image)
                if not np.isnan(image.miou):
                    heapq.heappush(worst, (-image.miou, -number, image))
                    if len(worst) > num_images:
                        heapq.heappop(worst)
                progress.update()
    if not confusion.counts.any():
        raise InputError(f'all pixels of all label images have the label {confusion.ignore_index}, which is ignored')
    report.worst = [image for *_, image in sorted(worst, key=lambda entry: entry[:2], reverse=True)]
    return report


def _confusion_of(loader: DataLoader, evaluators: Any) -> tuple[Confusion, np.ndarray]:
    """An empty matrix of the test set's classes, by the settings of its ``IoUMetric``, and their colors."""
    meta = getattr(loader.dataset, 'metainfo', {})
    if not meta.get('classes') or not meta.get('palette'):
        raise InputError(
            'the test set does not name its classes and their colors. Set metainfo=dict(classes=..., palette=...) in '
            'test_dataloader.dataset.'
        )
    settings = next((each for each in np.atleast_1d(evaluators) if 'ignore_index' in (each or {})), {})
    confusion = Confusion(meta['classes'], settings.get('ignore_index', 255), settings.get('nan_to_num'))
    return confusion, np.array(meta['palette'], dtype=np.uint8)


def _score(sample: Any, confusion: Confusion) -> SegmentedImage:
    """Adds an image to the confusions."""
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
    try:
        miou = confusion.add(prediction, truth)
    except InputError as error:
        raise InputError(f'image {path!r}: {error}') from error
    # A few of them are kept: two bytes a pixel hold any number of classes.
    return SegmentedImage(path, miou, *(part.cpu().numpy().astype(np.int16) for part in (truth, prediction)))


def write_report(report: SegmentationReport, out: Path) -> None:
    """Writes the files of ``WRITTEN`` into an existing folder."""
    classes, shares, rows = report.confusion.classes, report.confusion.shares(), report.class_rows()
    content = {
        **report.source,
        'num_images': len(report.mious),
        'summary': report.confusion.summary(),
        'classes': rows,
        'confusions': report.frequent_confusions(),
    }
    backend = AtomicBackend()
    counts = {'confusion': report.confusion.counts.tolist()}
    backend.put_text(json.dumps(content | counts, indent=1), out / 'report.json')
    scored = ('class', 'IoU', 'Acc', 'share')
    by_miou = sorted(report.mious, key=lambda row: (np.isnan(row[1]), row[1]))
    tables = {
        'classes': (scored, ([row[key] for key in scored] for row in rows)),
        'images': (('image', 'mIoU'), ((path, _percent(miou)) for path, miou in by_miou)),
        'confusion': (
            ('true class', *classes),
            ([name, *map(_percent, line)] for name, line in zip(classes, shares, strict=True)),
        ),
    }
    for name, (header, lines) in tables.items():
        backend.put_text(_csv(header, lines), out / f'{name}.csv')
    write_picture(draw_confusion(classes, shares), out / 'confusion.png', dpi=120)
    content['confusion'] = address('png', (out / 'confusion.png').read_bytes())
    for kind in ('worst', 'examples'):
        pictures = _draw(getattr(report, kind), report, out / kind)
        content[kind] = [address('jpeg', path.read_bytes()) for path in pictures]
    backend.put_text(fill_page('segmentation_page.html', content), out / 'index.html')


def _csv(header: Sequence[str], rows: Iterable[Iterable]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue().encode(errors='replace').decode()  # names of files need not be Unicode


def _draw(images: Sequence[SegmentedImage], report: SegmentationReport, folder: Path) -> list[Path]:
    """A picture of each image: itself, truth, prediction. Their numbers keep apart images of the same name."""
    paths = []
    for rank, image in enumerate(images, start=1):
        height, width = image.truth.shape
        pixels = to_tensor(image.path).permute(1, 2, 0).numpy()
        if pixels.shape[:2] != (height, width):
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        maps = {'truth': [image.truth], f'prediction, mIoU {100 * image.miou:.1f}': [image.prediction]}
        figure = draw_segmentations([pixels], maps, report.confusion.classes, report.palette, [image.name])
        paths.append(folder / f'{rank:03d}_{Path(image.name).stem[:50]}.jpg')
        write_picture(figure, paths[-1], dpi=150)
    return paths
