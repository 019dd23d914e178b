from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import BaseSegDataset
from PIL import Image

from mmbeitv2.datasets import LoadImage
from mmbeitv2.errors import InputError
from mmbeitv2.segmentation import LoadSegLabels, SegFolder

FLAT = dict(img_path='photos', seg_map_path='labels')


def load() -> list:
    """A pipeline for one dataset: mmseg's loader of labels remembers reduce_zero_label."""
    return [LoadImage(), LoadSegLabels()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images of three extensions, one of them in a folder below, with label images of the values 0 to 2."""
    rng = np.random.default_rng(0)
    for name in ('a.jpg', 'b.JPG', 'c.png', 'below/a.jpeg'):
        for folder in ('photos', 'labels'):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(tmp_path / 'photos' / name)
        label = (tmp_path / 'labels' / name).with_suffix('.png')
        Image.fromarray(rng.integers(0, 3, (16, 20), dtype=np.uint8)).save(label)
    (tmp_path / 'classes.txt').write_text('sky\nroad\nthe car\n')
    return tmp_path


def listed(dataset: SegFolder) -> list[str]:
    return [dataset.get_data_info(i)['img_path'].partition('photos/')[2] for i in range(len(dataset))]


def test_images_of_any_extension_have_the_labels_of_their_name(root: Path) -> None:
    dataset = SegFolder(str(root), 'classes.txt', FLAT, pipeline=load())
    assert listed(dataset) == ['a.jpg', 'b.JPG', 'below/a.jpeg', 'c.png']
    assert dataset.metainfo['classes'] == ('sky', 'road', 'the car')
    with Image.open(root / 'labels' / 'below' / 'a.png') as label:
        assert np.array_equal(dataset[2]['gt_seg_map'], np.array(label))


@pytest.mark.parametrize('reduce_zero_label', [False, True])
def test_samples_are_those_of_mmseg(root: Path, reduce_zero_label: bool) -> None:
    settings = dict(data_root=str(root), data_prefix=FLAT, reduce_zero_label=reduce_zero_label)
    a = SegFolder(**settings, classes=['sky', 'road', 'car'], pipeline=load())[0]
    b = BaseSegDataset(**settings, img_suffix='.jpg', metainfo=dict(classes=['sky', 'road', 'car']), pipeline=load())[0]
    assert a['img_path'] == b['img_path']
    assert np.array_equal(a['gt_seg_map'], b['gt_seg_map'])
    assert a.keys() - {'num_classes'} == b.keys()


@pytest.mark.parametrize('reduce_zero_label', [False, True])
def test_a_label_without_a_class_is_named_with_what_can_be_done(root: Path, reduce_zero_label: bool) -> None:
    label = np.full((16, 20), int(reduce_zero_label), np.uint8)
    label[3, 4] = 7
    Image.fromarray(label).save(root / 'labels' / 'a.png')
    settings = dict(data_root=str(root), data_prefix=FLAT, reduce_zero_label=reduce_zero_label)
    with pytest.raises(
        InputError, match=r'has the label 7, but the dataset has 3 classes.*add the class to classes\.txt'
    ):
        SegFolder(**settings, pipeline=load())[0]
    assert SegFolder(**settings, ignored_labels=[7], pipeline=load())[0]['gt_seg_map'][3, 4] == 255
    (root / 'classes.txt').write_text('\n'.join('abcdefgh'))
    assert SegFolder(**settings, pipeline=load())[0]['gt_seg_map'][3, 4] == 7 - reduce_zero_label


def test_images_and_labels_may_lie_in_one_folder(root: Path) -> None:
    (root / 'photos' / 'c.png').unlink()
    for path in (root / 'labels').rglob('*.png'):
        path.rename(root / 'photos' / path.relative_to(root / 'labels').with_suffix('.mask.png'))
    (root / 'photos' / 'c.mask.png').unlink()
    prefix = dict(img_path='photos', seg_map_path='photos')
    dataset = SegFolder(str(root), 'classes.txt', prefix, seg_map_suffix='.mask.png', pipeline=load())
    assert listed(dataset) == ['a.jpg', 'b.JPG', 'below/a.jpeg']
    assert dataset[0]['gt_seg_map'].shape == (16, 20)


def test_pairs_of_a_list_may_have_any_names_and_masks_may_be_tiffs(root: Path) -> None:
    with Image.open(root / 'labels' / 'b.png') as label:
        label.save(root / 'labels' / 'mask of c.TIF', compression='tiff_lzw')
        pixels = np.array(label)
    (root / 'train.txt').write_text('c.png, mask of c.TIF\nbelow/a\r\na.jpg,below/a.png\n')
    dataset = SegFolder(str(root), 'classes.txt', FLAT, ann_file='train.txt', pipeline=load())
    assert listed(dataset) == ['c.png', 'below/a.jpeg', 'a.jpg']
    assert np.array_equal(dataset[0]['gt_seg_map'], pixels)
    assert np.array_equal(dataset[1]['gt_seg_map'], dataset[2]['gt_seg_map'])
    (root / 'train.txt').write_text('c.png, d.tif\n')
    with pytest.raises(InputError, match=r"image '.*photos/c.png' has no label image '.*labels/d.tif'"):
        SegFolder(str(root), 'classes.txt', FLAT, ann_file='train.txt')


def test_a_label_table_takes_the_place_of_the_class_list(root: Path) -> None:
    (root / 'labels.txt').write_text('2, car\n0, sky\n1, sky\n')
    dataset = SegFolder(str(root), data_prefix=FLAT, label_table='labels.txt', pipeline=load())
    assert dataset.metainfo['classes'] == ('car', 'sky')
    assert dataset.metainfo['label_values'] == [2, 0]
    assert SegFolder(str(root), data_prefix=FLAT, reduce_zero_label=True).metainfo['label_values'] == [1, 2, 3]
    with Image.open(root / 'labels' / 'a.png') as label:
        assert np.array_equal(dataset[0]['gt_seg_map'], np.where(np.array(label) == 2, 0, 1))
    for settings in (dict(classes=['a']), dict(reduce_zero_label=True), dict(ignored_labels=[3])):
        with pytest.raises(InputError, match="label_table='labels.txt' already says which classes there are"):
            SegFolder(str(root), data_prefix=FLAT, label_table='labels.txt', **settings)


@pytest.mark.parametrize(
    ('file', 'content', 'words'),
    [
        ('classes.txt', 'a\n\nb\n', "line 2 of class list '.*classes.txt' is empty. Remove the line"),
        ('classes.txt', 'a\nb\na\n', "line 3 of class list '.*' repeats 'a' of line 1"),
        ('train.txt', 'a\nz.jpg\n', "line 2 of image list '.*train.txt' names 'z.jpg', which is not an image"),
    ],
)
def test_wrong_lists_are_named(root: Path, file: str, content: str, words: str) -> None:
    (root / file).write_text(content)
    with pytest.raises(InputError, match=words):
        SegFolder(str(root), 'classes.txt', FLAT, ann_file='train.txt' if file == 'train.txt' else '')


def test_an_image_of_which_a_transform_leaves_nothing_is_named(root: Path) -> None:
    for folder, mode in (('photos', 'RGB'), ('labels', 'L')):
        Image.new(mode, (5000, 1)).save(root / folder / 'c.png')
    dataset = SegFolder(str(root), 'classes.txt', FLAT, pipeline=load())
    assert dataset[3]['gt_seg_map'].shape == (1, 5000)
    resize = dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 0.5), keep_ratio=True)
    dataset = SegFolder(str(root), 'classes.txt', FLAT, pipeline=[*load(), resize])
    assert dataset[0]['img'].shape[0] > 1
    with pytest.raises(InputError, match=r"photos/c.png' does not pass the pipeline .*remove it or cut it"):
        dataset[3]


def test_missing_files_are_named(root: Path) -> None:
    (root / 'labels' / 'c.png').unlink()
    with pytest.raises(
        InputError, match=r"image '.*photos/c.png' has no label image '.*labels/c.png'. Add it"
    ) as error:
        SegFolder(str(root), 'classes.txt', FLAT)
    assert 'To predict images without labels, use tools/predict.py' in str(error.value)
