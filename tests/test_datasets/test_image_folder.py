from __future__ import annotations

from pathlib import Path

import pytest

from mmbeitv2.datasets import ImageFolder


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
