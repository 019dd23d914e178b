from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import BaseSegDataset
from PIL import Image

from mmbeitv2.datasets import LoadImage
from mmbeitv2.errors import InputError
from mmbeitv2.segmentation import LoadSegLabels, SegFolder, read_class_names

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


def test_the_names_of_label_images_may_have_capitals(tmp_path: Path) -> None:
    for folder, name in (('images', 'a.jpg'), ('labels', 'a_labelIds.png')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    dataset = SegFolder(str(tmp_path), ['sky', 'road'], seg_map_suffix='_labelIds.png')
    assert dataset.get_data_info(0)['seg_map_path'] == str(tmp_path / 'labels' / 'a_labelIds.png')


def test_images_of_any_extension_have_the_labels_of_their_name(root: Path) -> None:
    dataset = SegFolder(str(root), 'classes.txt', FLAT, pipeline=load())
    assert listed(dataset) == ['a.jpg', 'b.JPG', 'below/a.jpeg', 'c.png']
    assert dataset.metainfo['classes'] == ('sky', 'road', 'the car')
    with Image.open(root / 'labels' / 'below' / 'a.png') as label:
        assert np.array_equal(dataset[2]['gt_seg_map'], np.array(label))


def test_samples_are_those_of_mmseg(root: Path) -> None:
    for settings in (dict(), dict(reduce_zero_label=True)):
        ours = SegFolder(str(root), ['sky', 'road', 'car'], FLAT, pipeline=load(), **settings)
        theirs = BaseSegDataset(
            data_root=str(root),
            data_prefix=FLAT,
            img_suffix='.jpg',
            metainfo=dict(classes=['sky', 'road', 'car']),
            pipeline=load(),
            **dict(reduce_zero_label=False) | settings,
        )
        a, b = ours[0], theirs[0]
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


@pytest.mark.parametrize('reduce_zero_label', [False, True])
def test_ignored_labels_are_values_of_the_files(root: Path, reduce_zero_label: bool) -> None:
    dataset = SegFolder(
        str(root), 'classes.txt', FLAT, reduce_zero_label=reduce_zero_label, ignored_labels=[2], pipeline=load()
    )
    with Image.open(root / 'labels' / 'a.png') as label:
        pixels = np.array(label)
    ignored = (pixels == 2) | (reduce_zero_label & (pixels == 0))
    assert np.array_equal(dataset[0]['gt_seg_map'] == 255, ignored)


def test_a_split_is_a_list_of_images_with_or_without_extension(root: Path) -> None:
    (root / 'train.txt').write_text('c\nbelow/a.jpeg\r\n')
    dataset = SegFolder(str(root), 'classes.txt', FLAT, ann_file='train.txt')
    assert listed(dataset) == ['c.png', 'below/a.jpeg']


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
    (root / 'train.txt').write_text('c.png, mask of c.TIF\nbelow/a\na.jpg,below/a.png\n')
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
    with Image.open(root / 'labels' / 'a.png') as label:
        assert np.array_equal(dataset[0]['gt_seg_map'], np.where(np.array(label) == 2, 0, 1))
    for settings in (dict(classes=['a']), dict(reduce_zero_label=True), dict(ignored_labels=[3])):
        with pytest.raises(InputError, match="label_table='labels.txt' already says which classes there are"):
            SegFolder(str(root), data_prefix=FLAT, label_table='labels.txt', **settings)


def test_label_values_are_those_of_the_files(root: Path) -> None:
    for reduce_zero_label in (False, True):
        dataset = SegFolder(str(root), 'classes.txt', FLAT, reduce_zero_label=reduce_zero_label)
        assert dataset.metainfo['label_values'] == [reduce_zero_label + number for number in range(3)]


@pytest.mark.parametrize(
    ('file', 'content', 'words'),
    [
        ('classes.txt', '', "class list '.*classes.txt' is empty. Write one name or path per line"),
        ('classes.txt', 'a\n\nb\n', "line 2 of class list '.*classes.txt' is empty. Remove the line"),
        ('classes.txt', 'a\nb\na\n', "line 3 of class list '.*' repeats 'a' of line 1"),
        ('classes.txt', '\n'.join(map(str, range(256))), 'has 256 names, but a label image can hold at most 255'),
        ('classes.txt', b'\xff\xfe', r"class list '.*' cannot be read \(it is not UTF-8 text\)"),
        ('train.txt', 'a\nz.jpg\n', "line 2 of image list '.*train.txt' names 'z.jpg', which is not an image"),
        ('train.txt', ' \n', "image list '.*train.txt' is empty"),
    ],
)
def test_wrong_lists_are_named(root: Path, file: str, content: str | bytes, words: str) -> None:
    (root / file).write_bytes(content if isinstance(content, bytes) else content.encode())
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
    with pytest.raises(InputError, match=r"photos/c.png' does not pass the pipeline .*Remove it, or cut it"):
        dataset[3]


def test_missing_files_are_named(root: Path) -> None:
    (root / 'labels' / 'c.png').unlink()
    with pytest.raises(
        InputError, match=r"image '.*photos/c.png' has no label image '.*labels/c.png'. Add it"
    ) as error:
        SegFolder(str(root), 'classes.txt', FLAT)
    assert 'To predict images without labels, use tools/predict.py' in str(error.value)
    with pytest.raises(InputError, match=r"image folder '.*/images' not found"):
        SegFolder(str(root), 'classes.txt')
    with pytest.raises(InputError, match=r"class list '.*names.txt' not found"):
        read_class_names(root / 'names.txt')
