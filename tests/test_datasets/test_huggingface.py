from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from mmengine.registry import init_default_scope

from mmbeitv2.datasets import HuggingFaceImages, ImageFolder
from mmbeitv2.errors import InputError, UnreadableImageError
from tests.conftest import EXACT_MASKED, table_of
from tests.test_datasets.conftest import assert_equal, batches

LOAD = [dict(type='mmbeitv2.LoadImage')]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', tmp_path / 'cache')
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_OFFLINE', True)


@pytest.fixture
def table(image_folder: Path) -> dict:
    """The images of the folder in the order of ImageFolder, as columns."""
    paths = sorted(image_folder.rglob('*.jpg'), key=str)
    return dict(
        image=[dict(bytes=path.read_bytes(), path=path.name) for path in paths],
        label=[path.parts[-3] for path in paths],
        number=list(range(16)),
    )


def write_parquet(path: Path, columns: dict) -> str:
    """As a program writes it that does not know the library: no types but Arrow's."""
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return str(path)


def in_library(columns: dict) -> datasets.Dataset:
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=['cat', 'dog']), number=datasets.Value('int64')
    )
    return datasets.Dataset.from_dict(columns, features)


@pytest.mark.parametrize('kind', ['parquet', 'bytes', 'folder of parquet', 'splits'])
def test_a_table_gives_the_batches_of_the_folder(image_folder: Path, tmp_path: Path, table: dict, kind: str) -> None:
    init_default_scope('mmpretrain')
    path, split = tmp_path / 'table', 'train'
    if kind == 'parquet':
        path = write_parquet(tmp_path / 'table.parquet', table)
    elif kind == 'bytes':
        table['image'] = [image['bytes'] for image in table['image']]
        path = write_parquet(tmp_path / 'table.parquet', table)
    elif kind == 'folder of parquet':
        path.mkdir()
        in_library(table).to_parquet(path / 'train.parquet')
    else:
        split = 'extra'
        datasets.DatasetDict({'extra': in_library(table)}).save_to_disk(path)
    dataset = HuggingFaceImages(str(path), split, label_column='label', pipeline=EXACT_MASKED)
    folder = ImageFolder(str(image_folder), with_label=True, pipeline=EXACT_MASKED)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert dataset.get_gt_labels().tolist() == folder.get_gt_labels().tolist()
    assert_equal(batches(dataset), batches(folder))


def test_the_table_of_a_folder_gives_its_batches(image_folder: Path) -> None:
    """Also where an image is replaced, for any number of workers, and when the folder is gone."""
    init_default_scope('mmpretrain')
    for path in image_folder.rglob('*.jpg'):
        path.rename(path.parents[1] / path.name)  # the library takes the name of the last folder for the label
    spoiled = sorted(image_folder.rglob('*.jpg'))[0]
    spoiled.write_bytes(spoiled.read_bytes()[:300])
    settings = dict(pipeline=EXACT_MASKED, max_unreadable=0.1)
    folder = ImageFolder(str(image_folder), with_label=True, **settings)
    expected = batches(folder)
    table = table_of(image_folder)
    assert len(list(table.glob('*.arrow'))) > 1
    shutil.rmtree(image_folder)
    dataset = HuggingFaceImages(str(table), label_column='label', **settings)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert dataset.get_gt_labels().tolist() == folder.get_gt_labels().tolist()
    for num_workers in (0, 2):
        assert_equal(batches(dataset, num_workers), expected)


def test_a_saved_table_has_the_rows_that_the_split_names(tmp_path: Path, table: dict) -> None:
    in_library(table).save_to_disk(tmp_path / 'table')
    for split, rows in (
        ('train', range(16)),
        ('train[:50%]', range(8)),
        ('train[12:]+train[:2]', [*range(12, 16), 0, 1]),
    ):
        dataset = HuggingFaceImages(str(tmp_path / 'table'), split, label_column='number', pipeline=LOAD)
        assert [dataset[i]['gt_label'] for i in range(len(dataset))] == list(rows)
    with pytest.raises(InputError, match="split 'validation' of data set .* cannot be loaded .*one of .*train'"):
        HuggingFaceImages(str(tmp_path / 'table'), 'validation')


def test_images_may_lie_in_files_of_their_own(image_folder: Path, tmp_path: Path) -> None:
    files = sorted(map(str, image_folder.rglob('*.jpg')))
    data = datasets.Dataset.from_dict({'picture': files}, datasets.Features(picture=datasets.Image()))
    data.select([3, 1]).save_to_disk(tmp_path / 'table')
    dataset = HuggingFaceImages(str(tmp_path / 'table'), image_column='picture', pipeline=LOAD)
    assert len(dataset) == 2
    expected = ImageFolder(str(image_folder), pipeline=LOAD)
    assert (dataset[0]['img'] == expected[3]['img']).all()


def test_unreadable_rows_are_named_or_replaced(tmp_path: Path, table: dict) -> None:
    table['image'][0]['bytes'] = table['image'][0]['bytes'][:300]
    table['image'][1] = dict(bytes=None, path=None)
    path = write_parquet(tmp_path / 'table.parquet', table)
    for row, reason in ((0, 'Truncated File Read'), (1, 'the file is empty')):
        with pytest.raises(UnreadableImageError, match=rf"table.parquet/train/{row}' cannot be read \({reason}"):
            HuggingFaceImages(path, pipeline=LOAD)[row]
    dataset = HuggingFaceImages(path, pipeline=LOAD, max_unreadable=0.2)
    assert all(dataset[i]['img'].shape == (40, 48, 3) for i in range(16))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(image_column='img'), "cannot be loaded .*img.*'image', 'label', 'number'"),
        (dict(label_column='image'), "has rows without a label in label_column='image'"),
        (dict(path='no/such'), "data set 'no/such' cannot be loaded"),
        (dict(label_column='label', classes=['a']), "has 2 classes in label_column='label', but 1 classes are set"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, table: dict, settings: dict, message: str) -> None:
    path = write_parquet(tmp_path / 'table.parquet', table)
    with pytest.raises(InputError, match=message):
        HuggingFaceImages(**dict(path=path) | settings)
