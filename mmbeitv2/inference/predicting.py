"""Predicts the images of files and folders with a classifier or a segmentor, and writes the results into a folder."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader
from tqdm import tqdm

from mmbeitv2.checkpoints import read_checkpoint
from mmbeitv2.errors import InputError, require_known
from mmbeitv2.fileio import write_atomically
from mmbeitv2.inference.channels import channels_of, class_of, image_extensions
from mmbeitv2.inference.config import read_config
from mmbeitv2.inference.loading import load_model, pad_whole_images
from mmbeitv2.inference.pipeline_images import PipelineImages
from mmbeitv2.inference.prediction_folder import PredictionFolder, find_inputs, require_distinct
from mmbeitv2.inference.segmenting import Classes, Maps, segment, segment_tiled, tile_settings
from mmbeitv2.layers import fingerprint
from mmbeitv2.registry import DATASETS
from mmbeitv2.segmentation.seg_folder import distinct_colors
from mmbeitv2.segmentation.seg_labels import read_label_table, reduces_zero_label

TableFormat = Literal['csv', 'parquet']
COLUMNS = {'image': 'string', 'rank': 'int64', 'label': 'int64', 'class': 'string', 'score': 'float64'}


@torch.inference_mode()
def predict(
    config: str | Path,
    checkpoint: str | Path,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    table_format: TableFormat = 'csv',
    topk: int = 1,
    overlay: bool = False,
    confidence: bool = False,
    tiled: bool = False,
    memory: int = 1000,
    batch_size: int = 1,
    num_workers: int = 0,
    device: str | None = None,
    cfg_options: Sequence[str] | dict | None = None,
) -> list[str]:
    """Predicts images and writes the results into a folder; called again, it continues where it was interrupted.

    A classifier gives ``predictions.csv`` with the columns of ``COLUMNS``. A segmentor gives a label map of each
    image, ``labels/NAME.png``, with a palette and the values of the training's label images. Each image goes through
    the test pipeline of the config. If the model slides over the image, the logits of overlapping crops are weighted by
    the distance to the edge of the crop, where mmseg weights them equally.

    In several processes of ``torch.distributed``, each predicts a part of the images.

    Args:
        config: of the classifier or segmentor.
        checkpoint: its weights.
        inputs: images, folders, patterns and lists, see :func:`mmbeitv2.inference.prediction_folder.find_inputs`.
        out: folder for the results; new, empty, or of an earlier prediction by the same model and settings.
        table_format: of the table of classes; ``'parquet'`` needs pyarrow.
        topk: classes per image, the most probable ones.
        overlay: also write ``overlays/NAME.png``, the image in the colors of its classes.
        confidence: also write ``confidence/NAME.png``, the probability of the predicted class, where 255 is 1.
        tiled: predict images at their own resolution, by tiles of ``model.test_cfg.crop_size``, without the resizing of
            the test pipeline. TIFFs may have any size: they are read by windows with rasterio, and the results are
            tiled TIFFs with the georeference of the image.
        memory: megabytes for the logits of a tiled image.
        batch_size: images of a classifier, or tiles and crops of an image, that go through the network at once. A
            segmentor that does not slide takes one image.
        num_workers: processes that load images; with ``tiled``, none.
        device: where to run; None for the GPU if there is one.
        cfg_options: settings that override the config's, see :func:`read_config`.

    Returns:
        A sentence for each image that could not be read. All others are done.

    Raises:
        InputError: before the work if the config is of another model, does not fit the checkpoint, an input is missing,
            two results would have one name, or ``out`` holds something else; during the work if the disk is full.
    """
    require_known(('table_format', table_format, TableFormat))
    cfg = read_config(str(config), cfg_options)
    inputs = [inputs] if isinstance(inputs, (str, Path)) else inputs
    files = find_inputs(inputs, image_extensions(channels_of(cfg)), out)
    model = load_model(cfg, checkpoint, device=device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    is_segmentor = hasattr(model, 'encode_decode')
    if not is_segmentor and not hasattr(getattr(model, 'head', None), 'num_classes'):
        raise InputError(
            f'the model of {str(config)!r} is neither a classifier nor a segmentor. Pass the config of one.'
        )
    other = 'classifier' if is_segmentor else 'segmentor'
    given = {'--topk': topk != 1, '--format': table_format != 'csv'}
    if not is_segmentor:
        given = {'--tiled': tiled, '--overlay': overlay, '--confidence': confidence}
    if any(given.values()):
        options = ', '.join(option for option, is_given in given.items() if is_given)
        raise InputError(f'only a {other} takes {options}. Leave that out.')
    if is_segmentor:
        require_distinct(files)
        if tiled or model.test_cfg.mode == 'slide':
            tile_settings(model)
    elif table_format == 'parquet':
        _parquet()
    pad_whole_images(model)
    classes = _classes_of(cfg, str(checkpoint), model.num_classes if is_segmentor else model.head.num_classes)
    images = PipelineImages(cfg, files, is_segmentor and overlay)
    made_by = _made_by(cfg, model, classes, images.pipeline, dict(tiled=tiled) if is_segmentor else dict(topk=topk))
    folder = PredictionFolder(Path(out), made_by)
    folder.require_same_images(files)
    share = folder.share(files)
    if is_segmentor:
        threshold = getattr(model.decode_head, 'threshold', None) or 0.5
        # Heads that classify masks, not pixels, add up probabilities; mmseg calls them logits too.
        by_masks = not any(hasattr(each, 'cls_seg') for each in model.decode_head.modules())
        maps = Maps(folder.folder, classes, overlay, confidence, threshold, by_masks)
        images.names = [name for name, path in share.items() if not folder.is_done(name, path, maps.paths(name, tiled))]
        work = (
            segment_tiled(model, images, maps, memory, batch_size)
            if tiled
            else segment(model, images, maps, batch_size, num_workers)
        )
    else:
        images.names = [name for name, path in share.items() if not folder.is_done(name, path)]
        work = _classify(model, images, topk, batch_size, num_workers)
    unreadable = []
    with tqdm(total=len(share), initial=len(share) - len(images.names), unit='image', disable=folder.rank > 0) as bar:
        for name, result in work:
            if isinstance(result, str):
                unreadable.append(result)
            else:
                folder.record(name, files[name], **result)
            bar.update()
    unreadable = folder.gather(unreadable)
    if not is_segmentor and folder.rank == 0:
        _write_table(folder, classes.names, table_format)
    return unreadable


def _classes_of(cfg: Config, checkpoint: str, count: int) -> Classes:
    """By what the checkpoint says about its training, or else by the test set of the config."""
    settings = (cfg.get('test_dataloader') or {}).get('dataset', {})
    kind = class_of(cfg, settings, DATASETS)
    about: dict[str, Any] = {**getattr(kind, 'METAINFO', {}), **settings.get('metainfo', {})}
    trained = read_checkpoint(checkpoint).meta.get('dataset_meta')
    about |= trained if isinstance(trained, dict) else {}
    for path in (step.get('label_table') for step in settings.get('pipeline', ())):
        if path is not None:
            table = read_label_table(path)
            told = dict(classes=table.classes, palette=table.colors)
            about = told | ({} if table.is_color else dict(label_values=table.first_values)) | about
    is_reduced = reduces_zero_label(settings, kind)
    defaults = dict(
        classes=map(str, range(count)),
        palette=distinct_colors(count),
        label_values=[number + int(is_reduced) for number in range(count)],
    )
    names, colors, values = (
        about[key] if len(about.get(key) or ()) == count else default for key, default in defaults.items()
    )
    for key, numbers, highest in (('palette', np.array(colors), 255), ('label_values', np.array(values), 65535)):
        if numbers.dtype.kind not in 'iu' or numbers.min() < 0 or numbers.max() > highest:
            raise InputError(
                f'{key} in the dataset_meta of checkpoint {checkpoint!r} has not only whole numbers from 0 to '
                f'{highest}. Correct or remove it.'
            )
    return Classes(list(map(str, names)), np.array(colors, np.uint8), np.array(values))


def _made_by(
    cfg: Config, model: Any, classes: Classes, pipeline: Sequence[dict], options: dict[str, Any]
) -> dict[str, str]:
    settings = json.dumps([cfg.model, pipeline, classes.names, classes.colors.tolist()], sort_keys=True, default=str)
    return {
        'weights': fingerprint(model),
        'settings': hashlib.sha256(settings.encode()).hexdigest()[:16],
        'label values': str(classes.values.tolist()),
        **{key: str(value) for key, value in options.items()},
    }


def _classify(
    model: Any, images: PipelineImages, topk: int, batch_size: int, num_workers: int
) -> Iterator[tuple[str, dict | str]]:
    """Names with labels and scores, or with the reason why there are none."""
    for batch in DataLoader(images, batch_size, num_workers=num_workers, collate_fn=list):
        yield from (each for each in batch if isinstance(each[1], str))
        readable = [each for each in batch if not isinstance(each[1], str)]
        if readable:
            results = model.test_step(pseudo_collate([sample for _, sample in readable]))
            for (name, _), result in zip(readable, results, strict=True):
                scores, labels = result.pred_score.topk(min(topk, len(result.pred_score)))
                yield name, dict(labels=labels.tolist(), scores=scores.tolist())


def _write_table(folder: PredictionFolder, names: list[str], table_format: TableFormat) -> None:
    """The results of all images that are done."""
    rows = [
        (image, rank, label, names[label], score)
        for image, done in sorted(folder.done.items())
        if folder.is_done(image, done['path'])
        for rank, (label, score) in enumerate(zip(done['labels'], done['scores'], strict=True), 1)
    ]
    if table_format == 'csv':
        text = io.StringIO()
        csv.writer(text, lineterminator='\n').writerows([COLUMNS, *rows])
        write_atomically(folder.folder / 'predictions.csv', text.getvalue().encode(errors='surrogateescape'))
        return
    pyarrow, content = _parquet(), io.BytesIO()
    # Parquet holds UTF-8 only: other bytes of a file name become \\xff.
    rows = [(os.fsencode(image).decode(errors='backslashreplace'), *others) for image, *others in rows]
    table = pyarrow.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in rows], pyarrow.schema(COLUMNS))
    pyarrow.parquet.write_table(table, content)
    write_atomically(folder.folder / 'predictions.parquet', content.getvalue())


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError('Parquet needs pyarrow, which is not installed. Install it, or choose csv.') from None
    return pyarrow
