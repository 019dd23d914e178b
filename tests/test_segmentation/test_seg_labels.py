from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmbeitv2.datasets import LoadImage
from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.segmentation import LoadSegLabels, read_label_table


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


def test_a_label_image_that_cannot_be_used_is_named(tmp_path: Path, labels: np.ndarray) -> None:
    path = tmp_path / 'image.png'
    with pytest.raises(UnreadableImageError, match=r'cannot be read \(No such file or directory\)'):
        load(tmp_path)
    image = Image.fromarray(labels)
    for changed, message in (
        (image.convert('RGB'), "image.png' has pixels of Pillow mode 'RGB'. It must have one 8-bit channel"),
        (image.resize((16, 20)), "image.png' has 16x20 pixels, but its image has 20x16"),
        (image.point(lambda value: 6), 'has the label 6, but the dataset has 5 classes, the first of which is 1'),
    ):
        changed.save(path)
        with pytest.raises(InputError, match=message):
            load(tmp_path)
    image.save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UnreadableImageError, match=r"label image '.*image.png' cannot be read \(.*truncated.*\)"):
        load(tmp_path)


def load_by_table(tmp_path: Path, table: str, image: Image.Image, name: str = 'image.png') -> np.ndarray:
    """The class numbers of a label image, by a label table."""
    (tmp_path / 'labels.txt').write_text(table)
    image.save(tmp_path / name)
    results = dict(seg_map_path=str(tmp_path / name), reduce_zero_label=False, seg_fields=[], num_classes=2)
    return LoadSegLabels(label_table=str(tmp_path / 'labels.txt')).transform(results)['gt_seg_map']


@pytest.mark.parametrize('name', ['image.png', 'image.tif'])
@pytest.mark.parametrize(('dtype', 'far'), [(np.uint8, 200), (np.uint16, 40000)])
def test_values_are_merged_dropped_and_numbered_by_a_table(tmp_path: Path, name: str, dtype: type, far: int) -> None:
    values = Image.fromarray(np.array([[0, 1, 2], [7, far, 255]], dtype))
    loaded = load_by_table(tmp_path, f'7, the car\n0, -\n1,road\n{far}, road\n 2 , the car\n', values, name)
    assert loaded.dtype == np.uint8
    assert loaded.tolist() == [[255, 1, 0], [0, 1, 255]]
    with pytest.raises(
        InputError, match=r'has the value 7, which .*labels.txt. does not list. Add the line "7, CLASS"'
    ):
        load_by_table(tmp_path, f'0, a\n1, b\n2, b\n{far}, b\n', values, name)
    with pytest.raises(InputError, match=r'labels.txt. has 3 classes, not num_classes=2'):
        load_by_table(tmp_path, f'0, a\n1, b\n2, b\n7, b\n{far}, c\n', values, name)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'P'])
def test_colors_become_classes_by_a_table(tmp_path: Path, mode: str) -> None:
    colors = np.array([[[128, 64, 128], [0, 0, 1]], [[0, 1, 0], [255, 255, 255]]], np.uint8)
    image = Image.fromarray(colors)
    image = image.quantize(4) if mode == 'P' else image.convert(mode)
    table = '0 0 1, sky\r128 64 128, road\r\n0 1 0, sky\n'
    assert load_by_table(tmp_path, f'{table}255 255 255, -\n', image).tolist() == [[1, 0], [0, 255]]
    found = read_label_table(str(tmp_path / 'labels.txt'))
    assert (found.classes, found.colors) == (('sky', 'road'), [[0, 0, 1], [128, 64, 128]])
    with pytest.raises(InputError, match=r'image.png. has the color 255 255 255, which .* "255 255 255, -" to ignore'):
        load_by_table(tmp_path, table, image)
    with pytest.raises(InputError, match=r"has pixels of Pillow mode 'L'. With colors in the label table"):
        load_by_table(tmp_path, table, image.convert('L'))


@pytest.mark.parametrize(
    ('table', 'words'),
    [
        ('0, a\n1 b\n', r"line 2 of label table '.*labels.txt', '1 b', has neither the form"),
        ('1 2 256, a\n', 'with colors from 0 to 255'),
        ('128,64,128,road\n', 'Write, for example, "7, road" or "128 64 128, road"'),
        ('65535, a\n65536, b\n', 'line 2 .* with a value from 0 to 65535'),
        ('0, a\n0 0 0, b\n', 'line 2 .* mixes values and colors'),
        ('0, a\n0, b\n', 'line 2 of label table .* gives 0 a class again'),
    ],
)
def test_a_wrong_label_table_is_named(tmp_path: Path, table: str, words: str) -> None:
    (tmp_path / 'labels.txt').write_text(table)
    with pytest.raises(InputError, match=words):
        read_label_table(str(tmp_path / 'labels.txt'))
