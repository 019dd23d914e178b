from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmpretrain.datasets import CustomDataset
from mmseg.datasets import BaseSegDataset

from demo.sample_set import GROUNDS, SHAPES, draw_scene, write_sample_set

COUNTS = dict(train=60, val=12, training=6, validation=3)


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    return hashlib.sha256(b''.join(str(f.relative_to(folder)).encode() + f.read_bytes() for f in files)).hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    write_sample_set(tmp_path / 'a', counts=COUNTS)
    write_sample_set(tmp_path / 'b', counts=COUNTS, processes=1)
    write_sample_set(tmp_path / 'c', counts=COUNTS, seed=1)
    assert digest(tmp_path / 'a') == digest(tmp_path / 'b') != digest(tmp_path / 'c')


def test_openmmlabs_datasets_read_it(tmp_path: Path) -> None:
    write_sample_set(tmp_path / 'set', counts=COUNTS)
    root = tmp_path / 'set'
    train = CustomDataset(data_root=str(root / 'imagenet'), data_prefix='train', pipeline=[])
    assert train.metainfo['classes'] == SHAPES
    assert len(train) == 60
    few = CustomDataset(data_root=str(root / 'imagenet'), data_prefix='train', ann_file='labeled.txt', pipeline=[])
    assert len(few) == 12
    info = few.get_data_info(3)
    assert Path(info['img_path']).is_file()
    assert SHAPES[info['gt_label']] in info['img_path']
    segments = BaseSegDataset(
        data_root=str(root / 'ade20k'),
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        seg_map_suffix='.png',
        pipeline=[],
    )
    assert len(segments) == 6
    labels = np.unique(cv2.imread(segments.get_data_info(0)['seg_map_path'], cv2.IMREAD_UNCHANGED))
    assert labels.min() >= 1
    assert labels.max() <= len(SHAPES) + len(GROUNDS)
    captions = (root / 'imagenet' / 'captions.tsv').read_text().splitlines()
    assert len(captions) == 60
    path, caption = captions[5].split('\t')
    assert (root / 'imagenet' / path).is_file()
    assert path.split('/')[1] in caption


def test_labels_mark_the_object_and_the_caption_names_it() -> None:
    for shape in SHAPES:
        scene = draw_scene(np.random.default_rng(7), shape)
        assert scene.shape == shape
        assert shape in scene.caption
        objects = scene.labels == 1 + SHAPES.index(shape)
        assert 0.02 < objects.mean() < 0.7
        assert scene.image.dtype == np.uint8
        ground = GROUNDS.index(scene.caption.split(' on ')[1]) + 1 + len(SHAPES)
        assert set(np.unique(scene.labels)) == {1 + SHAPES.index(shape), ground}


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / 'set'
    folder.mkdir()
    (folder / 'thesis.txt').write_text('years of work')
    with pytest.raises(ValueError, match=r"holds 'thesis.txt'"):
        write_sample_set(folder, counts=COUNTS)
    assert [path.name for path in folder.iterdir()] == ['thesis.txt']


def test_an_earlier_set_is_replaced_unless_the_user_put_something_into_it(tmp_path: Path) -> None:
    folder = tmp_path / 'set'
    write_sample_set(folder, counts=COUNTS)
    write_sample_set(folder, counts=COUNTS, seed=1)
    before = digest(folder)
    (folder / 'imagenet' / 'train' / 'star' / 'mine.jpg').write_bytes(b'of the user')
    with pytest.raises(ValueError, match=r"holds 'imagenet/train/star/mine.jpg'"):
        write_sample_set(folder, counts=COUNTS)
    (folder / 'imagenet' / 'train' / 'star' / 'mine.jpg').unlink()
    assert digest(folder) == before
