from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from mmbeitv2.demo import clip
from mmbeitv2.errors import InputError

SMALL = ['--img-size', '16', '--width', '32', '--epochs', '1', '--batch-size', '8']


def main(monkeypatch: pytest.MonkeyPatch, *argv: str) -> None:
    monkeypatch.setattr(sys, 'argv', ['clip', *SMALL, *argv])
    clip.main()


def test_the_folder_that_it_writes_is_a_teacher(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'clip'
    for _ in range(2):  # the second time it replaces what it wrote
        main(monkeypatch, str(image_folder), str(out))
    assert 'epoch 1/1  loss' in capsys.readouterr().out
    teacher = MODELS.build(dict(type='mmbeitv2.SmallCLIPTeacher', folder=str(out)))
    assert teacher(torch.rand(2, 3, 16, 16), (2, 2)).shape == (2, 4, 32)


def test_its_features_have_no_common_mean(tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main(monkeypatch, str(image_folder), str(tmp_path / 'clip'), '--epochs', '40')
    teacher = clip.SmallCLIPTeacher(str(tmp_path / 'clip'))
    images = clip.load_images([path for path, _ in clip.read_pairs(image_folder)], 16) / 255
    features = teacher(images, (2, 2)).flatten(0, 1)
    assert features.mean(dim=0).norm() < 0.5 * features.norm(dim=1).mean()


def test_a_folder_without_a_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='has no small_clip.pth'):
        clip.SmallCLIPTeacher(str(tmp_path))


def test_the_loss_counts_all_images_of_a_caption_as_its_own() -> None:
    embeddings, caption, scale = torch.eye(2)[[0, 0, 1]], torch.tensor([4, 4, 7]), torch.tensor(50.0)
    # Each image is equally close to both captions of its kind, so the best loss is the entropy of that choice.
    best = 2 / 3 * torch.tensor(2.0).log()
    torch.testing.assert_close(clip.contrastive_loss(embeddings, embeddings, caption, scale), best)
    assert clip.contrastive_loss(embeddings, embeddings.flip(0), caption, scale) > 10


def test_words_are_counted_in_each_caption() -> None:
    assert clip.count_words(['a b', 'b b c']).tolist() == [[1, 1, 0], [0, 2, 1]]


def test_a_folder_of_the_user_is_refused_before_the_training(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(clip, 'train', lambda *_: pytest.fail('it trained'))
    precious = tmp_path / 'precious'
    precious.mkdir()
    (precious / 'thesis.txt').touch()
    for out, message in ((precious, "holds 'thesis.txt'"), (image_folder.parent, 'Choose another output folder')):
        with pytest.raises(SystemExit):
            main(monkeypatch, str(image_folder), str(out))
        assert message in capsys.readouterr().err
    assert [path.name for path in precious.iterdir()] == ['thesis.txt']


def test_an_image_outside_the_class_folders_is_named(image_folder: Path) -> None:
    (image_folder / 'stray.jpg').write_bytes((image_folder / 'cat/nested/0.jpg').read_bytes())
    with pytest.raises(InputError, match='stray.jpg. is not in a class folder'):
        clip.read_pairs(image_folder)
