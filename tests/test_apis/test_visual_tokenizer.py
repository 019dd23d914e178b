from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image

from mmbeitv2.apis import VisualTokenizer
from tests.conftest import NUM_CODES, tiny_pretraining, tiny_tokenizer


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    torch.save({'state_dict': MODELS.build(tiny_tokenizer()).state_dict()}, tmp_path / 'tokenizer.pth')
    return str(tmp_path / 'tokenizer.pth')


@pytest.fixture
def tokenizer(checkpoint: str) -> VisualTokenizer:
    return VisualTokenizer(Config({'model': tiny_tokenizer()}), checkpoint)


def test_every_kind_of_image_gives_the_same_codes(tokenizer: VisualTokenizer, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (48, 32, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / 'image.png')
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    kinds = [tmp_path / 'image.png', str(tmp_path / 'image.png'), Image.fromarray(array), array, tensor, tensor / 255]
    (single,) = tokenizer(array)
    assert single.shape == (4, 4)
    assert len(single.unique()) > 1
    for codes in tokenizer(kinds, batch_size=4):
        assert torch.equal(codes, single)
    for batch in (tensor.expand(2, -1, -1, -1), np.stack((array, array))):
        assert torch.equal(tokenizer(batch), single.expand(2, -1, -1))


def test_crop_sees_the_middle_and_stretch_the_whole(checkpoint: str) -> None:
    wide = torch.zeros(3, 32, 96, dtype=torch.uint8)
    wide[:, :, :32] = 255
    for fit, white in (('crop', 0), ('stretch', 85)):
        prepared = VisualTokenizer(Config({'model': tiny_tokenizer()}), checkpoint, fit=fit).prepare(wide)
        assert prepared.shape == (3, 32, 32)
        assert prepared.float().mean().item() == pytest.approx(white, abs=2)


def test_codes_equal_the_models_own(tokenizer: VisualTokenizer) -> None:
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    z = tokenizer.model.encode_task_layer(tokenizer.model.encoder(images / 127.5 - 1)[0].permute(0, 2, 3, 1))
    distance = torch.cdist(torch.nn.functional.normalize(z, dim=-1).flatten(0, 2), tokenizer.codebook)
    assert torch.equal(tokenizer(images).flatten(), distance.argmin(dim=1))


def test_lookup_gives_code_vectors(tokenizer: VisualTokenizer) -> None:
    vectors = tokenizer.lookup(np.array([[3, 0]], dtype=np.uint16))
    assert torch.equal(vectors[0, 1], tokenizer.codebook[0])
    assert vectors.shape == (1, 2, 8)
    with pytest.raises(ValueError, match=f'between 0 and {NUM_CODES}, but the codebook has {NUM_CODES}'):
        tokenizer.lookup(torch.tensor([0, NUM_CODES]))


def test_a_config_of_a_pretraining_means_its_tokenizer(checkpoint: str) -> None:
    assert VisualTokenizer(Config({'model': tiny_pretraining()}), checkpoint).num_codes == NUM_CODES


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        ('none.jpg', "image 'none.jpg' cannot be read"),
        (np.zeros((4, 4, 3)), 'type float64 is no image: give .H, W, 3. uint8'),
        (torch.full((3, 8, 8), 2.0), 'between 2 and 2 is no image'),
        (torch.zeros(1, 8, 8), r'Tensor of shape \(1, 8, 8\) is no image'),
    ],
)
def test_what_is_no_image_is_refused(tokenizer: VisualTokenizer, image: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tokenizer([image])


def test_wrong_checkpoints_are_refused(checkpoint: str, tmp_path: Path) -> None:
    larger = tiny_tokenizer(quantizer=dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=32, code_dim=8))
    shapes = r'quantize.* has shape \(16.*\) in the file and \(32.*\) in the model'
    with pytest.raises(ValueError, match=shapes):
        VisualTokenizer(Config({'model': larger}), checkpoint)
    torch.save(MODELS.build(tiny_pretraining()).state_dict(), tmp_path / 'pretrained.pth')
    with pytest.raises(ValueError, match='not a VQ-KD tokenizer'):
        VisualTokenizer(Config({'model': tiny_tokenizer()}), tmp_path / 'pretrained.pth')
    with pytest.raises(ValueError, match='describes no VQKD'):
        VisualTokenizer(Config({'model': dict(type='ImageClassifier')}), checkpoint)
