"""Images, labels and lists in an object store, which a file backend of mmengine reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.fileio import BaseStorageBackend, register_backend
from mmengine.fileio.backends.registry_utils import backends, prefix_to_backends
from mmengine.registry import init_default_scope

from mmbeitv2.datasets import ImageFolder
from mmbeitv2.errors import InputError
from mmbeitv2.segmentation import LoadSegLabels
from tests.conftest import EXACT_MASKED
from tests.test_datasets.conftest import assert_equal, batches


class MemoryBackend(BaseStorageBackend):
    """A store that has what object stores have: objects by name, no folders, contents as memoryviews."""

    objects: dict[str, bytes] = {}  # noqa: RUF012

    def get(self, filepath: str) -> memoryview:
        return memoryview(self.objects[filepath])  # KeyError: no OSError, as with most clients

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        return bytes(self.get(filepath)).decode(encoding)

    def list_dir_or_file(self, dir_path: str, list_dir: bool = True, recursive: bool = False) -> Iterator[str]:
        assert recursive
        assert not list_dir
        prefix = dir_path.rstrip('/') + '/'
        return (name.removeprefix(prefix) for name in self.objects if name.startswith(prefix))


@pytest.fixture
def store(image_folder: Path) -> Iterator[dict[str, bytes]]:
    """The images of the folder in ``memory://bucket/images``."""
    MemoryBackend.objects = {
        f'memory://bucket/images/{path.relative_to(image_folder)}': path.read_bytes()
        for path in image_folder.rglob('*.jpg')
    }
    register_backend('memory', MemoryBackend, prefixes='memory')
    yield MemoryBackend.objects
    del backends['memory'], prefix_to_backends['memory']


def infos(dataset: ImageFolder) -> list[dict]:
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def test_a_store_gives_the_batches_of_the_folder(image_folder: Path, store: dict[str, bytes]) -> None:
    init_default_scope('mmpretrain')
    store['memory://bucket/images/notes.txt'] = store['memory://bucket/images/.hidden/0.jpg'] = b''
    local = ImageFolder(str(image_folder), with_label=True, pipeline=EXACT_MASKED)
    for settings in (
        dict(data_root='memory://bucket/', data_prefix='images'),
        dict(data_prefix='memory://bucket/images'),
    ):
        remote = ImageFolder(**settings, with_label=True, pipeline=EXACT_MASKED)
        assert remote.metainfo['classes'] == ('cat', 'dog')
        assert remote.get_gt_labels().tolist() == local.get_gt_labels().tolist()
    assert len(ImageFolder('memory://bucket', pipeline=[])) == 16
    assert_equal(batches(remote, 1), batches(local))


def test_lists_and_their_images_may_lie_in_a_store(image_folder: Path, tmp_path: Path, store: dict[str, bytes]) -> None:
    text = 'cat/nested/1.jpg 1\r\nmemory://bucket/images/dog/nested/2.jpg 0\n'
    expected = [('memory://bucket/images/cat/nested/1.jpg', 1), ('memory://bucket/images/dog/nested/2.jpg', 0)]
    store['memory://bucket/list.txt'] = text.encode()
    (tmp_path / 'list.txt').write_text(text)
    for ann_file in ('list.txt', 'memory://bucket/list.txt', str(tmp_path / 'list.txt')):
        dataset = ImageFolder('memory://bucket', 'images', ann_file, with_label=True)
        assert [(info['img_path'], info['gt_label']) for info in infos(dataset)] == expected
    dataset = ImageFolder(str(image_folder), ann_file='memory://bucket/list.txt', with_label=True)
    assert [info['img_path'] for info in infos(dataset)] == [str(image_folder / 'cat/nested/1.jpg'), expected[1][0]]


def test_label_images_of_a_store_are_read_and_checked(store: dict[str, bytes]) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    store['memory://bucket/labels.png'] = cv2.imencode('.png', labels)[1].tobytes()
    sample = dict(seg_map_path='memory://bucket/labels.png', reduce_zero_label=False, seg_fields=[])
    assert (LoadSegLabels().transform(dict(sample))['gt_seg_map'] == labels).all()
    with pytest.raises(
        InputError, match="'memory://bucket/labels.png' has the label 11, but the dataset has 5 classes"
    ):
        LoadSegLabels(num_classes=5).transform(dict(sample))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(data_root='gs://bucket'), "no file backend of mmengine can read 'gs://bucket.*. Register one"),
        (
            dict(data_root='https://example.org/images'),
            'HTTPBackend cannot list the images of .*in a file and set ann_file',
        ),
    ],
)
def test_what_a_store_does_not_have_is_named(store: dict[str, bytes], settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageFolder(**settings)
