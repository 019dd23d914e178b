from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.errors import InputError
from tests.conftest import tiny_tokenizer
from tests.test_inference.foreign import foreign_tokenizer


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
    with pytest.raises(ValueError, match="fit='strech' is unknown. Choose one of crop, stretch"):
        VisualTokenizer(Config({'model': tiny_tokenizer()}), checkpoint, fit='strech')


def test_codes_equal_the_models_own(tokenizer: VisualTokenizer) -> None:
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    z = tokenizer.model.encode_task_layer(tokenizer.model.encoder(images / 127.5 - 1)[0].permute(0, 2, 3, 1))
    distance = torch.cdist(torch.nn.functional.normalize(z, dim=-1).flatten(0, 2), tokenizer.codebook)
    assert torch.equal(tokenizer(images).flatten(), distance.argmin(dim=1))


def test_a_pil_image_equals_its_file(tokenizer: VisualTokenizer, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (48, 32, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(array).save(tmp_path / 'turned.png', exif=turned)
    Image.fromarray(array[..., 0].astype(np.uint16) << 8).save(tmp_path / 'sixteen.png')
    for name in ('turned.png', 'sixteen.png'):
        assert torch.equal(tokenizer.prepare(Image.open(tmp_path / name)), tokenizer.prepare(tmp_path / name)), name
    upright = tokenizer.prepare(np.ascontiguousarray(np.rot90(array, -1)))
    assert torch.equal(tokenizer.prepare(tmp_path / 'turned.png'), upright)


def test_images_may_come_from_an_iterator(tokenizer: VisualTokenizer) -> None:
    arrays = list(np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8))
    assert torch.equal(tokenizer(iter(arrays), batch_size=2), tokenizer(arrays))
    for none in ([], iter(()), np.empty((0, 32, 32, 3), np.uint8)):
        assert tokenizer(none).shape == (0, 4, 4)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        ('none.jpg', "image 'none.jpg' cannot be read"),
        (np.full((4, 4, 3), 200.0), 'type torch.float64 with values from 200 to 200 is not an image. Pass uint8'),
        (np.zeros((0, 4, 3), np.uint8), r'an array of shape \(3, 0, 4\) is not an image'),
        (Image.fromarray(np.ones((4, 4), np.float32)), "a PIL image of mode 'F' cannot be read: .* floating-point"),
    ],
)
def test_what_is_no_image_is_refused(tokenizer: VisualTokenizer, image: object, message: str) -> None:
    for images in ([image], image):
        with pytest.raises(InputError, match=message):
            tokenizer(images)


@pytest.mark.parametrize('model', ['dalle', 'signs'])
def test_tokenizers_of_every_kind_fit(tmp_path: Path, model: str) -> None:
    """DALL-E's has no code vectors; that of a foreign quantizer has no table of them."""
    tokenizer = foreign_tokenizer(tmp_path, model)
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    codes = tokenizer(images)
    assert codes.shape == (3, *tokenizer.grid_size)
    prepared = torch.stack([tokenizer.prepare(image) for image in images])
    assert torch.equal(codes.flatten(1), tokenizer.model.tokenize(prepared / 127.5 - 1))
    if model == 'dalle':
        with pytest.raises(InputError, match='has no code vectors'):
            _ = tokenizer.codebook
    else:
        bits = (codes[..., None] >> torch.arange(4)) & 1
        assert torch.equal(tokenizer.lookup(codes), 2.0 * bits - 1)
        assert torch.equal(tokenizer.codebook[codes], tokenizer.lookup(codes))
