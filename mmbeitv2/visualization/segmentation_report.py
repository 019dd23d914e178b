"""A segmentation on its test set: scores of each class, confusions, the worst images, as files and as one page."""

from __future__ import annotations

import csv
import heapq
import io
import json
import os
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmbeitv2_tools.launch import load_config
from mmbeitv2_tools.preflight import checked_runner
from mmbeitv2_tools.preflight.data import classes_of
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.runner.amp import autocast
from mmseg.evaluation import IoUMetric
from prettytable import PrettyTable
from tqdm import tqdm

from mmbeitv2.checkpoints import load_exactly
from mmbeitv2.engine import unwrapped
from mmbeitv2.errors import InputError
from mmbeitv2.evaluation.confusion import Confusion
from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.inference.visual_tokenizer import to_tensor
from mmbeitv2.visualization.pictures import write_picture
from mmbeitv2.visualization.segmentation import draw_class_scores, draw_confusion, draw_segmentations
from mmbeitv2.visualization.segmentation_page import segmentation_page

# What write_report writes, see mmbeitv2.fileio.folders.
WRITTEN = (
    'index.html', 'report.json', 'classes.csv', 'images.csv', 'confusion.csv', 'iou.png', 'confusion.png',
    'worst/*.jpg', 'examples/*.jpg',
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


def report_segmentation(
    config: Path, checkpoint: str, out: Path, num_images: int, cfg_options: Sequence[str] = ()
) -> SegmentationReport:
    """Scores a checkpoint on the test set of its config, with the label maps of some images.

    Args:
        config: of the segmentation.
        checkpoint: its weights.
        out: folder of the results, for checks.
        num_images: images in ``worst`` and in ``examples``, each.
        cfg_options: see :func:`mmbeitv2.apis.read_config`.

    Raises:
        InputError: if the config is not of a segmentation, or has no labeled test set, or does not fit the checkpoint.
    """
    if num_images > MAX_PICTURES:
        raise InputError(f'{num_images} images are too many for one page. Choose {MAX_PICTURES} or fewer.')
    cfg = load_config(
        Namespace(
            config=str(config), cfg_options=cfg_options, launcher='none', local_rank=0, work_dir=str(out),
            no_pin_memory=False,
        )
    )  # fmt: skip
    cfg.pop('runner_type', None)  # sharding is for training
    _require_segmentation(cfg)
    runner = checked_runner(cfg, is_training=False, is_rehearsal=True)
    load_exactly(unwrapped(runner), checkpoint)
    return _segment(runner, num_images, {'config': str(config), 'checkpoint': checkpoint})


def _require_segmentation(cfg: Config) -> None:
    """Refuses what has no labels to compare with; leaves only mmseg's IoU of the test's metrics, writing no files."""
    evaluators = cfg.get('test_evaluator') or []
    evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
    found = [each for each in evaluators if isinstance(each, dict) and 'IoUMetric' in str(each.get('type'))]
    if not found:
        raise InputError(
            f'config {cfg.filename!r} does not score its test set by IoUMetric. Pass the work dir of a segmentation '
            'run whose config sets test_dataloader and test_evaluator.'
        )
    prefix = ((cfg.get('test_dataloader') or {}).get('dataset') or {}).get('data_prefix')
    if isinstance(prefix, dict) and prefix.get('seg_map_path') is None:
        raise InputError(
            f'the test set of {cfg.filename!r} has no labels. Name their folder in '
            'test_dataloader.dataset.data_prefix.seg_map_path.'
        )
    cfg.test_evaluator = [{**found[0], 'output_dir': None, 'format_only': False}]


@torch.no_grad()
def _segment(runner: Runner, num_images: int, source: dict[str, str]) -> SegmentationReport:
    """Passes the test set through the model."""
    loop: Any = runner.test_loop
    dataset, metric = loop.dataloader.dataset, loop.evaluator.metrics[0]
    assert isinstance(metric, IoUMetric)
    classes = classes_of(dataset)
    if not classes:
        raise InputError(
            f'the test set of {runner.cfg.filename!r} does not name its classes. Set metainfo=dict(classes=(...)) in '
            'test_dataloader.dataset.'
        )
    confusion = Confusion(classes, metric.ignore_index, metric.nan_to_num)
    report = SegmentationReport(source, confusion, np.array(dataset.metainfo['palette'], dtype=np.uint8))
    chosen = set(np.linspace(0, len(dataset) - 1, min(num_images, len(dataset))).astype(int).tolist())
    worst: list[tuple[float, int, SegmentedImage]] = []  # a heap whose first is the best of them
    model = runner.model.eval()
    with tqdm(total=len(dataset), unit='image') as progress:
        for batch in loop.dataloader:
            with autocast(enabled=loop.fp16):
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
        raise InputError(f'all pixels of all label images have the label {metric.ignore_index}, which is ignored')
    report.worst = [image for *_, image in sorted(worst, key=lambda entry: entry[:2], reverse=True)]
    return report


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
    """Writes the files of ``WRITTEN``.

    Args:
        report: of :func:`report_segmentation`.
        out: existing folder.
    """
    classes, scores, shares = report.confusion.classes, report.confusion.scores(), report.confusion.shares()
    rows, summary = report.class_rows(), report.confusion.summary()
    by_miou = sorted(report.mious, key=lambda row: (np.isnan(row[1]), row[1]))
    content = {
        **report.source,
        'num_images': len(report.mious),
        'summary': summary,
        'classes': rows,
        'confusions': report.frequent_confusions(),
    }
    backend = AtomicBackend()
    counts = {'confusion': report.confusion.counts.tolist()}
    backend.put_text(json.dumps(content | counts, indent=1), out / 'report.json')
    scored = ('class', 'IoU', 'Acc', 'share')
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
    write_picture(draw_class_scores(classes, scores['IoU'], scores['Acc'], report.palette), out / 'iou.png', dpi=120)
    write_picture(draw_confusion(classes, shares), out / 'confusion.png', dpi=120)
    pictures = {kind: _draw(getattr(report, kind), report, out / kind) for kind in ('worst', 'examples')}
    backend.put_text(segmentation_page(content, out, pictures), out / 'index.html')


def _csv(header: Sequence[str], rows: Iterable[Iterable]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue().encode(errors='replace').decode()  # names of files need not be Unicode


def _draw(images: Sequence[SegmentedImage], report: SegmentationReport, folder: Path) -> list[Path]:
    """A picture of each image: itself, truth, prediction."""
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
