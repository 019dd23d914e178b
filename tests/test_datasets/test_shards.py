from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine import fileio
from mmengine.registry import init_default_scope

from mmbeitv2.datasets import ImageFolder, ImageShards
from mmbeitv2.errors import InputError, UnreadableImageError
from tests.conftest import EXACT_MASKED, shards_of
from tests.test_datasets.conftest import assert_equal, batches


def test_shards_give_the_batches_of_the_folder(image_folder: Path) -> None:
    init_default_scope('mmpretrain')
    spoiled = sorted(image_folder.rglob('*.jpg'))[0]
    spoiled.write_bytes(spoiled.read_bytes()[:300])  # replaced by the same image in either
    settings = dict(pipeline=EXACT_MASKED, max_unreadable=0.1)
    expected = batches(ImageFolder(str(image_folder), **settings))
    shards = shards_of(image_folder)
    assert len(list(shards.glob('shard-*.tar'))) > 2
    shutil.rmtree(image_folder)
    dataset = ImageShards(str(shards), **settings)
    for num_workers in (0, 2):
        assert_equal(batches(dataset, num_workers), expected)


def test_labels_and_classes_are_those_of_the_folder(image_folder: Path) -> None:
    (image_folder / 'empty').mkdir()
    shutil.copy(image_folder / 'cat/nested/0.jpg', image_folder / 'aside.jpg')
    folder, shards = (
        ImageFolder(str(image_folder), with_label=True),
        ImageShards(str(image_folder.parent), data_prefix=shards_of(image_folder).name, with_label=True),
    )
    assert shards.metainfo['classes'] == folder.metainfo['classes'] == ('cat', 'dog', 'empty')
    assert len(shards) == len(folder) == 16  # without the one outside of the class folders
    assert shards.get_gt_labels().tolist() == folder.get_gt_labels().tolist()
    for index in (0, 7, 8, -1):
        info, expected = shards.get_data_info(index), folder.get_data_info(index)
        assert fileio.get(info['img_path']) == Path(expected['img_path']).read_bytes()
        assert info['img_path'].endswith(f'#{Path(expected["img_path"]).relative_to(image_folder)}')
    with pytest.raises(InputError, match='has 3 class folders, but 1 classes are set'):
        ImageShards(str(image_folder.with_name('images-shards')), with_label=True, classes=['a'])


def test_a_shard_that_is_missing_or_cut_off_is_named_before_training(image_folder: Path) -> None:
    shards = shards_of(image_folder)
    last = sorted(shards.glob('*.tar'))[-1]
    content = last.read_bytes()
    for damage in (content[:-10], content + b'more'):
        last.write_bytes(damage)
        with pytest.raises(InputError, match=r"shard '.*shard-0000\d.tar' is truncated or not the same: index.npz"):
            ImageShards(str(shards))
    last.unlink()
    with pytest.raises(InputError, match=r"shard '.*tar' is missing: .* Copy it again, or run tools/make_shards.py"):
        ImageShards(str(shards))


def test_a_shard_that_is_cut_off_during_training_names_the_image(image_folder: Path) -> None:
    shards = shards_of(image_folder)
    dataset = ImageShards(str(shards), pipeline=[dict(type='mmbeitv2.LoadImage')])
    os.truncate(sorted(shards.glob('*.tar'))[-1], 1000)
    with pytest.raises(UnreadableImageError, match=r"dog/nested/7.jpg' cannot be read \(shard '.*tar' is truncated\)"):
        dataset[15]


def test_a_missing_or_damaged_index_is_one_sentence(image_folder: Path) -> None:
    shards = shards_of(image_folder)
    index = shards / 'index.npz'
    content = index.read_bytes()
    with np.load(index) as arrays:
        whole = dict(arrays)
    for damage in (content[:-200], content[:200], b'', b'no index', b'\x93NUMPY'):
        index.write_bytes(damage)
        with pytest.raises(InputError, match="index.npz' is damaged, or is not an index of shards"):
            ImageShards(str(shards))
    for contradiction in (
        dict(shards=np.array(['a'], dtype=object)),  # an array with code in its pickle is not opened
        dict(shard=whole['shard'] + 1),
        dict(shard=whole['shard'] - 1),
        dict(offset=whole['offset'][1:]),
        dict(sizes=whole['sizes'][1:]),
        dict(name_ends=whole['name_ends'][1:]),
    ):
        np.savez(index, **whole | contradiction)
        with pytest.raises(InputError, match="index.npz' is damaged"):
            ImageShards(str(shards))
    index.unlink()
    with pytest.raises(InputError, match='has no index.npz. Run tools/make_shards.py until it has finished'):
        ImageShards(str(shards))


def test_settings_that_do_not_apply_to_shards_are_refused(image_folder: Path) -> None:
    with pytest.raises(InputError, match="does not support an image list .ann_file='.*list.txt'.. Make shards"):
        ImageShards(str(image_folder), ann_file='list.txt')
    with pytest.raises(InputError, match='has no class folders with images'):
        ImageShards(str(shards_of(image_folder / 'cat/nested')), with_label=True)
