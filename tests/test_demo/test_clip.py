from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from mmengine.registry import MODELS

from demo import clip
from demo.clip import MEAN, STD


def test_what_it_writes_is_a_teacher_whose_features_have_no_common_mean(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name, value in {'IMG_SIZE': 16, 'WIDTH': 32, 'BATCH_SIZE': 8}.items():
        monkeypatch.setattr(clip, name, value)
    clip.main([str(image_folder), str(tmp_path / 'clip'), '--epochs', '40'])
    assert 'epoch 40/40  loss' in capsys.readouterr().out
    file = str(tmp_path / 'clip' / 'small_clip.pth')
    teacher = MODELS.build(dict(type='mmbeitv2.SmallCLIPTeacher', pretrained=file))
    images = clip.load_images([path for path, _ in clip.read_pairs(image_folder)], 16) / 255
    features = teacher(images, (2, 2))
    assert features.shape == (16, 4, 32)
    assert features.mean(dim=(0, 1)).norm() < 0.5 * features.norm(dim=2).mean()


def test_the_loss_counts_all_images_of_a_caption_as_its_own() -> None:
    embeddings, caption, scale = torch.eye(2)[[0, 0, 1]], torch.tensor([4, 4, 7]), torch.tensor(50.0)
    # Each image is equally close to both captions of its kind, so the best loss is the entropy of that choice.
    best = 2 / 3 * torch.tensor(2.0).log()
    torch.testing.assert_close(clip.contrastive_loss(embeddings, embeddings, caption, scale), best)
    assert clip.contrastive_loss(embeddings, embeddings.flip(0), caption, scale) > 10


def test_images_are_normalized_as_open_clip_does() -> None:
    assert (MEAN, STD) == (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
