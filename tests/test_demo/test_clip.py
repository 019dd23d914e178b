from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from mmengine.registry import MODELS

from demo import clip
from demo.small_clip import MEAN, STD, SmallCLIPTeacher
from mmbeitv2.errors import InputError

SMALL = ['--img-size', '16', '--width', '32', '--epochs', '1', '--batch-size', '8']


def main(*argv: str) -> None:
    clip.main([*SMALL, *argv])


def test_the_folder_that_it_writes_is_a_teacher(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'clip'
    for _ in range(2):  # the second time it replaces what it wrote
        main(str(image_folder), str(out))
    assert 'epoch 1/1  loss' in capsys.readouterr().out
    teacher = MODELS.build(dict(type='mmbeitv2.SmallCLIPTeacher', pretrained=str(out / 'small_clip.pth')))
    assert teacher(torch.rand(2, 3, 16, 16), (2, 2)).shape == (2, 4, 32)


def test_its_features_have_no_common_mean(tmp_path: Path, image_folder: Path) -> None:
    main(str(image_folder), str(tmp_path / 'clip'), '--epochs', '40')
    teacher = SmallCLIPTeacher(str(tmp_path / 'clip' / 'small_clip.pth'))
    images = clip.load_images([path for path, _ in clip.read_pairs(image_folder)], 16) / 255
    features = teacher(images, (2, 2)).flatten(0, 1)
    assert features.mean(dim=0).norm() < 0.5 * features.norm(dim=1).mean()


def test_weights_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='do not exist. Make them by python -m demo.clip'):
        SmallCLIPTeacher(str(tmp_path / 'small_clip.pth'))


@pytest.mark.parametrize('option', ['--width', '--img-size', '--epochs', '--batch-size'])
def test_numbers_that_are_too_small_are_refused(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture, option: str
) -> None:
    with pytest.raises(SystemExit):
        main(str(image_folder), str(tmp_path / 'clip'), f'{option}=-1')
    assert f'{option} must be at least' in capsys.readouterr().err
    assert not (tmp_path / 'clip').exists()


@pytest.mark.parametrize(
    ('table', 'message'),
    [('', 'is empty'), ('a.jpg\n', 'line 1 of'), ('a.jpg\ta cat\nb.jpg\t \n', 'line 2 of')],
)
def test_captions_of_the_wrong_form_are_refused(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / 'captions.tsv').write_text(table)
    with pytest.raises(InputError, match=message):
        clip.read_pairs(tmp_path / 'train')


def test_the_loss_counts_all_images_of_a_caption_as_its_own() -> None:
    embeddings, caption, scale = torch.eye(2)[[0, 0, 1]], torch.tensor([4, 4, 7]), torch.tensor(50.0)
    # Each image is equally close to both captions of its kind, so the best loss is the entropy of that choice.
    best = 2 / 3 * torch.tensor(2.0).log()
    torch.testing.assert_close(clip.contrastive_loss(embeddings, embeddings, caption, scale), best)
    assert clip.contrastive_loss(embeddings, embeddings.flip(0), caption, scale) > 10


def test_images_are_normalized_as_open_clip_does() -> None:
    assert (MEAN, STD) == (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


def test_words_are_counted_in_each_caption() -> None:
    assert clip.count_words(*clip.number_words(['a b', 'b b c'])).tolist() == [[1, 1, 0], [0, 2, 1]]
