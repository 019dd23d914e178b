from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, init_default_scope
from torch.utils.data import DataLoader

from mmbeitv2.datasets import ImageFolder, ImageNetVariant, SeededSampler
from tests.conftest import ROOT


def test_reads_nested_images_without_labels(image_folder: Path) -> None:
    dataset = ImageFolder(data_root=str(image_folder), pipeline=[])
    assert len(dataset) == 16
    assert 'gt_label' not in dataset.get_data_info(0)


def test_reads_labels_from_the_first_folder_or_a_list(image_folder: Path, tmp_path: Path) -> None:
    dataset = ImageFolder(data_root=str(image_folder), with_label=True, pipeline=[])
    assert [dataset.get_data_info(i)['gt_label'] for i in range(16)] == [0] * 8 + [1] * 8
    (tmp_path / 'list.txt').write_text('cat/nested/1.jpg 1\n')
    listed = ImageFolder(data_root=str(image_folder), ann_file=str(tmp_path / 'list.txt'), with_label=True, pipeline=[])
    assert listed.get_data_info(0)['gt_label'] == 1


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(data_root='nowhere'), "image folder 'nowhere' not found: give an existing one"),
        (dict(data_prefix='empty'), 'holds no image'),
        (dict(ann_file='none.txt'), "none.txt' not found"),
    ],
)
def test_a_folder_without_images_is_refused(image_folder: Path, arguments: dict, message: str) -> None:
    (image_folder / 'empty').mkdir()
    with pytest.raises(ValueError, match=message):
        ImageFolder(**{'data_root': str(image_folder), 'pipeline': [], **arguments})


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
    assert any('(3 of 16 so far)' in line for line in reports)


def test_too_many_unreadable_images_stop_with_the_list(image_folder: Path) -> None:
    spoil(image_folder, 4)
    dataset = ImageFolder(data_root=str(image_folder), pipeline=READ, max_unreadable=0.2)
    with pytest.raises(
        ValueError, match=r'4 of 16 images cannot be read.*max_unreadable=0.2.*0.jpg.*1.jpg.*2.jpg.*3.jpg'
    ):
        [dataset[i] for i in range(16)]


def test_by_default_the_first_unreadable_image_stops(image_folder: Path) -> None:
    spoil(image_folder, 1)
    with pytest.raises(ValueError, match=r"0.jpg' cannot be read"):
        ImageFolder(data_root=str(image_folder), pipeline=READ)[0]


@pytest.mark.parametrize('kind', ['ImageNet', 'ImageNet21k'])
def test_datasets_of_mmpretrain_take_the_pretraining_pipeline(image_folder: Path, kind: str) -> None:
    cfg = Config.fromfile(str(ROOT / 'configs/_base_/datasets/imagenet_pretraining.py'))
    init_default_scope('mmpretrain')
    (image_folder / 'train').mkdir()
    for name in ('cat', 'dog'):
        (image_folder / name).rename(image_folder / 'train' / name)
    dataset = DATASETS.build(
        dict(
            type=kind,
            data_root=str(image_folder),
            split='train',
            metainfo=dict(classes=('cat', 'dog')),
            pipeline=cfg.train_pipeline,
        )
    )
    loader = DataLoader(dataset, batch_size=8, sampler=SeededSampler(dataset, seed=3), collate_fn=default_collate)
    batches = list(loader)
    assert [batch['inputs'].shape for batch in batches] == [(8, 3, 224, 224)] * 2
    assert all((batch['mask'].sum(dim=1) == 75).all() for batch in batches)


def test_variants_of_imagenet_have_its_labels(image_folder: Path) -> None:
    (image_folder / 'cat').rename(image_folder / 'n02123045')  # tabby, class 281
    (image_folder / 'dog').rename(image_folder / 'n01498041')  # stingray, class 6, the first of ImageNet-A
    dataset = ImageNetVariant(data_root=str(image_folder), pipeline=[])
    assert [dataset.get_data_info(i)['gt_label'] for i in range(16)] == [6] * 8 + [281] * 8
    assert dataset.metainfo['class_indices'] == [6, 281]
    (image_folder / 'n02123045').rename(image_folder / 'cat')
    with pytest.raises(ValueError, match="folder 'cat' in .* is no synset of ImageNet-1k"):
        ImageNetVariant(data_root=str(image_folder), pipeline=[])
