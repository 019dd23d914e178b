from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset, default_collate
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, init_default_scope
from torch.utils.data import DataLoader

from mmbeitv2.datasets import ImageFolder, ImageNetVariant, find_images
from mmbeitv2.datasets.seeding import SampleIndex
from mmbeitv2.errors import InputError
from tests.conftest import EXACT_MASKED, ROOT
from tests.test_datasets.conftest import assert_equal, batches


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(data_root='nowhere'), "image folder 'nowhere' not found. Correct the path"),
        (dict(data_prefix='empty'), 'holds no images'),
        (
            dict(data_prefix='cat/nested', with_label=True),
            "cat/nested' has no class folders with images.*To predict .* use tools/predict.py",
        ),
        (dict(with_label=True, classes=['a']), "images' has 3 class folders, but 1 classes are set"),
    ],
)
def test_a_folder_without_images_is_refused(image_folder: Path, arguments: dict, message: str) -> None:
    (image_folder / 'empty').mkdir()
    with pytest.raises(InputError, match=message):
        ImageFolder(**{'data_root': str(image_folder), 'pipeline': [], **arguments})


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'cat/nested/0.jpg', "line 1 of image list '.*list.txt', 'cat/nested/0.jpg', has no label"),
        (b'cat/nested/0.jpg -1', "ends with '-1', which is not a label. Write a whole number that is not negative"),
        (b'cat/nested/0.jpg 2', 'line 1 of .* has the label 2, but there are 2 classes'),
        (b'cat/nested/0.jpg 0\n\ncat/nested/1.jpg 0', 'line 2 of .* is empty. Remove the line'),
        (b'cat/nested/0.jpg 0\ncat/nested/9.jpg 1', r"image '.*cat/nested/9.jpg' in line 2 of .*list.txt' not found"),
    ],
)
def test_a_wrong_line_of_a_list_is_named(image_folder: Path, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / 'list.txt').write_bytes(content)
    arguments = dict(data_root=str(image_folder), ann_file=str(tmp_path / 'list.txt'), pipeline=[])
    with pytest.raises(InputError, match=message):
        ImageFolder(**arguments, with_label=True, classes=['cat', 'dog'])


def test_lists_may_hold_spaces_absolute_paths_and_windows_line_ends(image_folder: Path, tmp_path: Path) -> None:
    (image_folder / 'cat/nested/0.jpg').rename(image_folder / 'a cat.jpg')
    other = image_folder / 'dog/nested/0.jpg'
    arguments = dict(data_root=str(image_folder), ann_file=str(tmp_path / 'list.txt'), pipeline=[])
    (tmp_path / 'list.txt').write_bytes(f'a cat.jpg 1\r\n{other} 0\r\n'.encode())
    dataset = ImageFolder(**arguments, with_label=True)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [(info['img_path'], info['gt_label']) for info in infos] == [
        (str(image_folder / 'a cat.jpg'), 1),
        (str(other), 0),
    ]
    (tmp_path / 'list.txt').write_bytes(f'a cat.jpg\n{other}'.encode())
    dataset = ImageFolder(**arguments)
    assert [dataset.get_data_info(i)['img_path'] for i in range(2)] == [str(image_folder / 'a cat.jpg'), str(other)]


def test_every_reader_sees_the_same_files_in_the_same_order(image_folder: Path, tmp_path: Path) -> None:
    (image_folder / 'dog').rename(tmp_path / 'elsewhere')
    (image_folder / 'dog').symlink_to(tmp_path / 'elsewhere')
    (image_folder / 'cat-like').mkdir()
    shutil.copy(image_folder / 'cat/nested/0.jpg', image_folder / 'cat-like/UPPER.JPG')
    (image_folder / 'cat/._0.jpg').write_bytes(b'hidden')
    (image_folder / 'cat/notes.txt').write_bytes(b'')
    found = find_images(image_folder)
    assert len(found) == 17
    assert 'dog/nested/7.jpg' in found
    for with_label in (False, True):
        dataset = ImageFolder(data_root=str(image_folder), with_label=with_label, pipeline=[])
        assert [dataset.get_data_info(i)['img_path'] for i in range(17)] == [str(image_folder / path) for path in found]


def test_endless_links_and_closed_folders_are_named(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for link, target in (('cat/back', '.'), ('cat/other', 'dog')):  # the latter leads back by dog/other
        (image_folder / link).symlink_to(image_folder / target)
        (image_folder / 'dog/other').symlink_to(image_folder / 'cat')
        with pytest.raises(InputError, match="' is a symbolic link to a folder around it. Remove the link"):
            find_images(image_folder)
        (image_folder / link).unlink()
        (image_folder / 'dog/other').unlink()
    scandir = os.scandir

    def closed(folder: str) -> object:
        if folder.endswith('dog'):
            raise PermissionError(errno.EACCES, 'Permission denied', folder)
        return scandir(folder)

    monkeypatch.setattr(os, 'scandir', closed)  # the superuser may read everything
    with pytest.raises(PermissionError, match=r"Permission denied: '.*dog'"):
        ImageFolder(data_root=str(image_folder), pipeline=[])


READ = [
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmpretrain.RandomResizedCrop', scale=8),
    dict(type='mmpretrain.PackInputs'),
]


def spoil(folder: Path, count: int) -> None:
    for path in sorted(folder.rglob('*.jpg'))[:count]:
        path.write_bytes(path.read_bytes()[:300])


def test_unreadable_images_are_counted_reported_and_replaced(image_folder: Path, tmp_path: Path) -> None:
    spoil(image_folder, 3)
    logger = MMLogger.get_instance('unreadable', log_file=str(tmp_path / 'log.txt'))
    dataset = ImageFolder(data_root=str(image_folder), pipeline=READ, max_unreadable=0.2)
    loader = DataLoader(dataset, batch_size=4, num_workers=2, collate_fn=default_collate)
    for _ in range(2):
        assert sum(len(batch['inputs']) for batch in loader) == 16
    assert dataset._is_unreadable.nonzero()[:, 0].tolist() == [0, 1, 2]
    for handler in logger.handlers:
        handler.flush()
    reports = [line for line in (tmp_path / 'log.txt').read_text().splitlines() if 'cannot be read' in line]
    assert len(reports) == 3
    assert all(f'cat/nested/{i}.jpg' in ''.join(reports) for i in range(3))
    assert any('(3 of 16 images are unreadable so far)' in line for line in reports)


def test_too_many_unreadable_images_stop_with_the_list_and_by_default_the_first(image_folder: Path) -> None:
    spoil(image_folder, 4)
    dataset = ImageFolder(data_root=str(image_folder), pipeline=READ, max_unreadable=0.2)
    with pytest.raises(
        ValueError, match=r'4 of 16 images cannot be read.*max_unreadable=0.2.*0.jpg.*1.jpg.*2.jpg.*3.jpg'
    ):
        [dataset[i] for i in range(16)]
    with pytest.raises(ValueError, match=r"0.jpg' cannot be read"):
        ImageFolder(data_root=str(image_folder), pipeline=READ)[0]


def test_the_replacement_of_an_unreadable_image_depends_on_seed_epoch_and_index_only(image_folder: Path) -> None:
    spoil(image_folder, 3)
    init_default_scope('mmpretrain')
    dataset = ImageFolder(data_root=str(image_folder), pipeline=EXACT_MASKED, max_unreadable=0.2)

    for wrapped in (RepeatDataset(dataset, times=2), ConcatDataset([dataset, dataset])):
        expected = batches(wrapped)
        assert sum(len(batch['inputs']) for batch in expected) == 32
        for num_workers in (0, 1, 2):
            np.random.seed(num_workers)
            assert_equal(batches(wrapped, num_workers), expected)
    draws = [dataset[SampleIndex(0, seed, epoch)]['inputs'] for seed in range(3) for epoch in range(3)]
    assert len({draw.numpy().tobytes() for draw in draws}) == 9
    assert not torch.equal(dataset[SampleIndex(0, 3, 1)]['inputs'], dataset[SampleIndex(1, 3, 1)]['inputs'])


def test_datasets_of_mmpretrain_take_the_pretraining_pipeline(image_folder: Path) -> None:
    cfg = Config.fromfile(str(ROOT / 'configs/_base_/datasets/imagenet_pretraining.py'))
    init_default_scope('mmpretrain')
    (image_folder / 'train').mkdir()
    for name in ('cat', 'dog'):
        (image_folder / name).rename(image_folder / 'train' / name)
    dataset = DATASETS.build(
        dict(
            type='ImageNet',
            data_root=str(image_folder),
            split='train',
            metainfo=dict(classes=('cat', 'dog')),
            pipeline=cfg.train_pipeline,
        )
    )
    found = batches(dataset)
    assert [batch['inputs'].shape for batch in found] == [(4, 3, 224, 224)] * 4
    assert all((batch['mask'].sum(dim=1) == 75).all() for batch in found)


def test_variants_of_imagenet_have_its_labels(image_folder: Path) -> None:
    (image_folder / 'cat').rename(image_folder / 'n02123045')  # tabby, class 281
    (image_folder / 'dog').rename(image_folder / 'n01498041')  # stingray, class 6, the first of ImageNet-A
    dataset = ImageNetVariant(data_root=str(image_folder), pipeline=[])
    assert [dataset.get_data_info(i)['gt_label'] for i in range(16)] == [6] * 8 + [281] * 8
    assert dataset.metainfo['class_indices'] == [6, 281]
    (image_folder / 'n02123045').rename(image_folder / 'cat')
    with pytest.raises(ValueError, match="folder 'cat' in .* is not a synset of ImageNet-1k"):
        ImageNetVariant(data_root=str(image_folder), pipeline=[])
