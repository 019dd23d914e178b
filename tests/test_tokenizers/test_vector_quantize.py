from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from mmengine.model import MMDistributedDataParallel
from torch import nn

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.errors import InputError
from mmbeitv2.interfaces import CodebookTokenizer, Encoder, Quantizer, Teacher
from mmbeitv2.registry import MODELS
from mmbeitv2.tokenizers import VQKD, VectorQuantizePytorch
from tests.conftest import refused, run_tool, tiny_pretraining
from tests.forked import spawn

KINDS = {
    'FSQ': (dict(levels=[5, 4, 3]), 60),
    'LFQ': (dict(codebook_size=8, num_codebooks=2), 64),
    'SimVQ': (dict(codebook_size=20), 20),
    'VectorQuantize': (dict(codebook_size=20, kmeans_init=True, threshold_ema_dead_code=1), 20),
    'product': (
        dict(quantizer='VectorQuantize', heads=2, separate_codebook_per_head=True, codebook_dim=4, codebook_size=5),
        25,
    ),
    'ResidualVQ': (dict(codebook_size=(6, 4)), 24),
    'ResidualFSQ': (dict(levels=[5, 3], num_quantizers=2), 225),
    'ResidualLFQ': (dict(codebook_size=4, num_quantizers=2), 16),
    'ResidualSimVQ': (dict(codebook_size=6, num_quantizers=2), 36),
}


@MODELS.register_module(force=True)
class Patches(nn.Module):
    """An encoder or decoder with nothing of our backbone's."""

    def __init__(self, in_channels: int, patch_size: int) -> None:
        super().__init__()
        self.embed_dims, self.grid_size, self.patch_size, self.in_channels = 16, (4, 4), patch_size, in_channels
        self.layer = nn.Conv2d(in_channels, 16, patch_size, patch_size)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (F.gelu(self.layer(x)),)


@MODELS.register_module(force=True)
class Colors(nn.Module):
    """A teacher that is no network."""

    embed_dims = 3

    def forward(self, images: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        return F.adaptive_avg_pool2d(images - 0.5, grid).flatten(2).transpose(1, 2)

    def fingerprint(self) -> int:
        return 1


def settings_of(kind: str) -> dict:
    return dict(
        type='mmbeitv2.VQKD',
        encoder=dict(type='mmbeitv2.Patches', in_channels=3, patch_size=8),
        decoder=dict(type='mmbeitv2.Patches', in_channels=8, patch_size=1),
        quantizer=dict(type='mmbeitv2.VectorQuantizePytorch', code_dim=8) | dict(quantizer=kind) | KINDS[kind][0],
        teacher=dict(type='mmbeitv2.Colors'),
    )


def build(kind: str) -> VQKD:
    model = MODELS.build(settings_of(kind))
    model.init_weights()
    return model


def images_of_patches(count: int) -> torch.Tensor:
    return F.interpolate(torch.rand(count, 3, 4, 4), scale_factor=8) * 2 - 1


@pytest.mark.parametrize('kind', KINDS)
def test_a_tokenizer_of_foreign_parts_goes_from_training_to_every_tool(
    kind: str, tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    model = build(kind).train()
    parts = [
        (model.encoder, Encoder),
        (model.quantize, Quantizer),
        (model.teacher, Teacher),
        (model, CodebookTokenizer),
    ]
    assert all(isinstance(part, interface) for part, interface in parts)
    assert (model.num_codes, model.code_dim) == (KINDS[kind][1], 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(200):
        parts = model(images_of_patches(8), mode='loss')
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optimizer.step()
        losses.append(parts['loss_reconstruction'].item())
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert model.encoder.layer.weight.grad.abs().max() > 0  # straight through
    assert model.code_counts.sum() == 200 * 8 * 16
    with torch.autocast('cpu', dtype=torch.bfloat16):
        vectors, loss, _ = model.quantize(torch.randn(8, 8, 4, 4).bfloat16())
    assert loss.dtype == vectors.dtype == torch.float32
    assert loss.shape == ()

    own = (str(tmp_path / 'own.py'), str(tmp_path / 'own.pth'))
    Path(own[0]).write_text(f'model = {settings_of(kind)!r}\n')
    torch.save(dict(state_dict=model.eval().state_dict()), own[1])
    options = ('--config', own[0], '--checkpoint', own[1], '--num-workers', '0')
    run_tool('tokenize_images', str(image_folder), '--out', str(tmp_path / 'codes.npz'), *options)
    with np.load(tmp_path / 'codes.npz') as written:
        paths, codes = [image_folder / path for path in written['paths'].tolist()], torch.from_numpy(written['codes'])
    read = VisualTokenizer(*own)
    pixels = torch.stack([read.prepare(path) for path in paths]).float()
    images = pixels / 127.5 - 1
    vectors, _, expected = model.encode(images)
    assert expected.dtype == torch.int64
    assert 0 <= expected.min() <= expected.max() < model.num_codes
    assert len(expected.unique()) > 3
    assert torch.equal(codes.flatten(1).long(), expected)
    torch.testing.assert_close(read.lookup(codes).permute(0, 3, 1, 2), vectors, rtol=0, atol=1e-5)

    run_tool('judge_tokenizer', *own, str(image_folder), '--json', str(tmp_path / 'numbers.json'))
    (judged,) = json.loads((tmp_path / 'numbers.json').read_text())['tokenizers']
    assert judged['codebook_usage'] == pytest.approx(100 * len(codes.unique()) / model.num_codes)
    run_tool('visualize_codebook', *own, str(image_folder), '--out', str(tmp_path / 'pages'))
    assert (tmp_path / 'pages/index.html').is_file()

    tokenizer = settings_of(kind) | dict(init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=own[1]))
    decoder = MODELS.build(dict(type='mmbeitv2.PixelDecoder', tokenizer=tokenizer, decoder=tokenizer['decoder']))
    pretraining = MODELS.build(tiny_pretraining(tokenizer=tokenizer))
    decoder.init_weights()
    pretraining.init_weights()
    decoder(images, mode='loss')['loss_pixels'].backward()
    assert decoder.decoder.layer.weight.grad.abs().max() > 0
    assert pretraining.head.num_codes == model.num_codes
    assert torch.equal(pretraining.tokenizer.module.tokenize(images), expected)
    batch = dict(inputs=pixels.byte(), mask=torch.arange(16).expand(len(pixels), 16) < 6)
    sum(pretraining(pretraining.data_preprocessor(batch)['inputs'], mode='loss').values()).backward()
    assert pretraining.backbone.patch_embed.proj.weight.grad.abs().max() > 0

    export = ('export_onnx', *own, str(tmp_path / 'own.onnx'), '--img-size', '32')
    if 'SimVQ' in kind:
        assert 'as the quantizer SimVQ does with the number of images' in refused(capsys, *export)
        return
    run_tool(*export)
    session = onnxruntime.InferenceSession(str(tmp_path / 'own.onnx'))
    (found,) = session.run(None, dict(images=pixels.numpy()))
    assert (found == expected.numpy()).mean() > 0.99


def test_a_code_is_the_number_whose_digits_are_the_levels() -> None:
    quantizer = VectorQuantizePytorch('ResidualVQ', code_dim=8, codebook_size=(6, 4)).eval()
    first, second = quantizer.quantizer.codebooks
    expected = torch.stack([one + two for one in first for two in second])
    torch.testing.assert_close(quantizer.lookup(torch.arange(24)), expected)
    product = VectorQuantizePytorch(code_dim=8, **KINDS['product'][0]).eval()
    first, second = product.quantizer.codebook
    expected = torch.stack([torch.cat((one, two)) for one in first for two in second])
    torch.testing.assert_close(product.lookup(torch.arange(25)), expected)
    quantizer = VectorQuantizePytorch('VectorQuantize', code_dim=8, codebook_size=5, heads=2).eval()
    both = [torch.cat((one, two)) for one in quantizer.quantizer.codebook for two in quantizer.quantizer.codebook]
    torch.testing.assert_close(quantizer.lookup(torch.arange(25)), quantizer.quantizer.project_out(torch.stack(both)))
    z = torch.randn(2, 8, 3, 3)
    vectors, _, codes = quantizer(z)
    torch.testing.assert_close(quantizer.lookup(codes).transpose(1, 2).unflatten(2, (3, 3)), vectors)


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, sentence in (
        (dict(quantizer='ResidualVQ', codebook_size=1024, num_quantizers=3), 'more than 16777216 codes'),
        (dict(quantizer='ResidualVQ', codebook_size=4, num_quantizers=2, quantize_dropout=True), 'quantize_dropout'),
        (dict(quantizer='GroupedResidualVQ', codebook_size=4), "'GroupedResidualVQ' is not supported"),
    ):
        with pytest.raises(InputError, match=sentence):
            VectorQuantizePytorch(code_dim=8, **settings)
    monkeypatch.setitem(sys.modules, 'vector_quantize_pytorch', None)
    with pytest.raises(InputError, match=r"pip install 'mmbeitv2\[quantizers\]'"):
        VectorQuantizePytorch('FSQ', code_dim=8, levels=[5, 4])


def _train_main(rank: int, folder: str) -> None:
    for kind in KINDS:
        torch.manual_seed(rank)
        model = build(kind).train()
        wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(6):
            sum(wrapped(images_of_patches(4), mode='loss').values()).backward()
            optimizer.step()
            optimizer.zero_grad()
        torch.save(model.state_dict(), f'{folder}/{kind}{rank}.pt')


def test_the_codebook_is_the_same_in_two_processes_with_different_images(tmp_path: Path) -> None:
    spawn(_train_main, str(tmp_path))
    for kind in KINDS:
        first, second = (torch.load(tmp_path / f'{kind}{rank}.pt') for rank in range(2))
        for key, value in first.items():
            assert torch.equal(value, second[key]), (kind, key)
