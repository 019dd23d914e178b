from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from mmbeitv2.errors import InputError
from mmbeitv2.evaluation import PeakSignalNoiseRatio
from tests.conftest import TEACHER, tiny_kmeans, tiny_tokenizer, tiny_vit


class BrightnessTokenizer(torch.nn.Module):
    """Two codes, as another project would write them, without mmengine."""

    num_codes, code_dim, in_channels, patch_size, grid_size = 2, 1, 1, 8, (4, 4)

    def tokenize(self, images: torch.Tensor) -> torch.Tensor:
        return (torch.nn.functional.avg_pool2d(images, 8) > 0).long().flatten(1)

    def lookup(self, codes: torch.Tensor) -> torch.Tensor:
        return codes[..., None].float()


def build(tokenizer: dict | None = None, **decoder: object) -> torch.nn.Module:
    settings = dict(
        img_size=4, patch_size=1, in_channels=8, out_type='featmap', rel_pos_bias='none', use_abs_pos_emb=True
    )
    model = MODELS.build(
        dict(
            type='mmbeitv2.PixelDecoder',
            tokenizer=tokenizer or tiny_tokenizer(),
            decoder=tiny_vit(**(settings | decoder)),
        )
    )
    model.init_weights()
    return model


def test_each_patch_is_painted_by_the_output_of_its_own_place() -> None:
    model = build().eval()
    codes = torch.randint(0, 16, (2, 4, 4))
    (features,) = model.decoder(model.tokenizer.module.quantize.embedding.weight[codes].permute(0, 3, 1, 2))
    pixels = model.to_pixels(features.permute(0, 2, 3, 1)).view(2, 4, 4, 3, 8, 8)
    expected = torch.zeros(2, 3, 32, 32)
    for row in range(4):
        for column in range(4):
            expected[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = pixels[:, row, column]
    torch.testing.assert_close(model.decode(codes), expected)


def test_it_learns_to_paint_and_the_tokenizer_stays_as_it_is() -> None:
    model = build()
    tokenizer = {key: value.clone() for key, value in model.tokenizer.module.state_dict().items()}
    images = torch.rand(8, 3, 1, 1).expand(-1, -1, 32, 32) * 2 - 1
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = model.train()(images, mode='loss')['loss_pixels']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert not [key for key in model.state_dict() if key.startswith('tokenizer')]
    assert all(torch.equal(value, tokenizer[key]) for key, value in model.tokenizer.module.state_dict().items())


def test_psnr_is_the_formula() -> None:
    model = build().eval()
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    samples = [sample.to_dict() for sample in model(images, mode='predict')]
    metric = PeakSignalNoiseRatio()
    metric.process(None, samples)
    rebuilt = model(images).clamp(-1, 1)
    # On the scale 0..255, as usual.
    errors = ((rebuilt - images) * 127.5).square().mean(dim=(1, 2, 3))
    expected = (20 * torch.log10(255 / errors.sqrt())).mean().item()
    assert metric.evaluate(3)['pixels/psnr'] == pytest.approx(expected, rel=1e-4)


def test_any_tokenizer_with_vectors_can_be_decoded() -> None:
    kmeans = tiny_kmeans(teacher=TEACHER, in_channels=5, teacher_channels=(4, 0, 2))
    model = build(kmeans, in_channels=192)
    assert model(torch.rand(2, 5, 32, 32) * 2 - 1).shape == (2, 5, 32, 32)
    MODELS.register_module('BrightnessTokenizer', force=True, module=BrightnessTokenizer)
    model = build(dict(type='BrightnessTokenizer'), in_channels=1)
    assert model(torch.rand(2, 1, 32, 32) * 2 - 1).shape == (2, 1, 32, 32)
    with pytest.raises(InputError, match='needs the vectors of the codes'):
        build(dict(type='mmbeitv2.DALLETokenizer', img_size=32, encoder=dict(n_hid=8)))
