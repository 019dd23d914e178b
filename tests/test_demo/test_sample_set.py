from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmpretrain.datasets import CustomDataset
from mmseg.datasets import BaseSegDataset

from demo.sample_set import GROUNDS, SHAPES, write_sample_set
from mmbeitv2.errors import InputError

COUNTS = dict(train=60, val=12, training=6, validation=3)


def content(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    write_sample_set(tmp_path / 'a', counts=COUNTS)
    write_sample_set(tmp_path / 'b', counts=COUNTS, processes=1)
    write_sample_set(tmp_path / 'c', counts=COUNTS, seed=1)
    assert content(tmp_path / 'a') == content(tmp_path / 'b') != content(tmp_path / 'c')


def test_openmmlabs_datasets_read_it(tmp_path: Path) -> None:
    write_sample_set(tmp_path, counts=COUNTS)
    settings = dict(data_root=str(tmp_path / 'imagenet'), data_prefix='train', pipeline=[])
    train, few = CustomDataset(**settings), CustomDataset(**settings, ann_file='labeled.txt')
    assert train.metainfo['classes'] == SHAPES
    assert (len(train), len(few)) == (60, 12)
    info = few.get_data_info(3)
    assert Path(info['img_path']).is_file()
    assert SHAPES[info['gt_label']] in info['img_path']
    prefix = dict(img_path='images/training', seg_map_path='annotations/training')
    segments = BaseSegDataset(
        data_root=str(tmp_path / 'ade20k'), data_prefix=prefix, seg_map_suffix='.png', pipeline=[]
    )
    assert len(segments) == 6
    labels = np.unique(cv2.imread(segments.get_data_info(0)['seg_map_path'], cv2.IMREAD_UNCHANGED))
    assert 1 <= labels.min() < labels.max() <= len(SHAPES) + len(GROUNDS)
    captions = (tmp_path / 'imagenet' / 'captions.tsv').read_text().splitlines()
    assert len(captions) == 60
    path, caption = captions[5].split('\t')
    assert (tmp_path / 'imagenet' / path).is_file()
    assert path.split('/')[1] in caption


def test_a_folder_of_the_user_is_left_alone_and_an_own_one_drawn_again(tmp_path: Path) -> None:
    (tmp_path / 'data' / 'imagenet').mkdir(parents=True)
    with pytest.raises(InputError, match="holds 'imagenet'. Choose a new or an empty folder"):
        write_sample_set(tmp_path / 'data', counts=COUNTS)
    assert not list((tmp_path / 'data' / 'imagenet').iterdir())
    for _ in range(2):
        write_sample_set(tmp_path / 'own', counts=dict.fromkeys(COUNTS, 5))
