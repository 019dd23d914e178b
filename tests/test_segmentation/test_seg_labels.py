from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmbeitv2.datasets import LoadImage
from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.segmentation import LoadSegLabels


@pytest.fixture
def labels(tmp_path: Path) -> np.ndarray:
    """Labels 0 (ignored) to 5 of an image of 20x16 pixels."""
    labels = np.random.default_rng(0).integers(0, 6, (16, 20), dtype=np.uint8)
    Image.fromarray(np.zeros((16, 20, 3), np.uint8)).save(tmp_path / 'image.jpg')
    return labels


def load(tmp_path: Path, num_classes: int | None = 5, reduce_zero_label: bool = True) -> np.ndarray:
    dataset = BaseSegDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='', seg_map_path=''),
        metainfo=dict(classes=[f'class{i}' for i in range(5)]),
        img_suffix='.jpg',
        seg_map_suffix='.png',
        reduce_zero_label=reduce_zero_label,
        pipeline=[LoadImage(), LoadSegLabels(num_classes=num_classes)],
    )
    return dataset[0]['gt_seg_map']


@pytest.mark.parametrize('palette', [None, [i * 7 % 256 for i in range(768)]])
def test_labels_are_those_of_mmseg(tmp_path: Path, labels: np.ndarray, palette: list[int] | None) -> None:
    image = Image.fromarray(labels)
    if palette:
        image.putpalette(palette)
    image.save(tmp_path / 'image.png')
    results = dict(seg_map_path=str(tmp_path / 'image.png'), reduce_zero_label=True, seg_fields=[])
    loaded = load(tmp_path)
    assert np.array_equal(loaded, LoadAnnotations()(results)['gt_seg_map'])
    assert np.array_equal(loaded, np.where(labels == 0, 255, labels - 1))


def save_label(path: Path, labels: np.ndarray, fault: str) -> None:
    image = Image.fromarray(labels)
    if fault == 'color':
        image = image.convert('RGB')
    elif fault == 'sixteen bits':
        image = Image.fromarray(labels.astype(np.uint16) + 256)
    elif fault == 'size':
        image = image.resize((16, 20))
    elif fault == 'too large':
        image.putpixel((3, 4), 6)
    image.save(path)
    if fault == 'cut off':
        path.write_bytes(path.read_bytes()[:-40])
    elif fault == 'text':
        path.write_text('no image')
    elif fault == 'missing':
        path.unlink()


@pytest.mark.parametrize(
    ('fault', 'kind', 'message'),
    [
        ('cut off', UnreadableImageError, r"label image '.*image.png' cannot be read \(.*truncated.*\)"),
        ('text', UnreadableImageError, r"label image '.*image.png' cannot be read \(cannot identify image file\)"),
        (
            'missing',
            UnreadableImageError,
            r'cannot be read \(No such file or directory\). Replace it, or remove it together with its image',
        ),
        ('color', InputError, "image.png' has pixels of Pillow mode 'RGB'. It must have one 8-bit channel"),
        ('sixteen bits', InputError, "image.png' has pixels of Pillow mode 'I;16'"),
        ('size', InputError, "image.png' has 16x20 pixels, but its image has 20x16"),
        ('too large', InputError, "image.png' has the label 6, but the dataset has 5 classes, the first of which is 1"),
    ],
)
def test_a_label_image_that_cannot_be_used_is_named(
    tmp_path: Path, labels: np.ndarray, fault: str, kind: type, message: str
) -> None:
    save_label(tmp_path / 'image.png', labels, fault)
    with pytest.raises(kind, match=message):
        load(tmp_path)


def test_without_num_classes_any_label_is_taken_and_255_always(tmp_path: Path, labels: np.ndarray) -> None:
    labels[0, 0] = 255
    Image.fromarray(labels).save(tmp_path / 'image.png')
    assert load(tmp_path)[0, 0] == 255
    assert np.array_equal(load(tmp_path, num_classes=None, reduce_zero_label=False), labels)
    with pytest.raises(InputError, match='num_classes=0 must lie between 1 and 255'):
        LoadSegLabels(num_classes=0)
