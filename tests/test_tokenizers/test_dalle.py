from __future__ import annotations

from pathlib import Path

import torch
from mmengine.registry import MODELS

from mmbeitv2.interfaces import Tokenizer
from tests.conftest import tiny_pretraining, tiny_vit

SMALL = dict(type='mmbeitv2.DALLETokenizer', img_size=32, encoder=dict(n_hid=8))


def test_pixels_are_mapped_as_dall_e_wants_them() -> None:
    tokenizer = MODELS.build(SMALL)
    for parameter in tokenizer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    pixels = torch.randint(0, 256, (2, 3, 32, 32)).float()
    # mmpretrain's second normalization for DALL-E: (x + 31.875) / 318.75.
    expected = tokenizer.encoder((pixels + 31.875) / 318.75).argmax(dim=1).flatten(1)
    codes = tokenizer.tokenize(pixels / 127.5 - 1)
    assert isinstance(tokenizer, Tokenizer)
    assert codes.shape == (2, 16)
    assert torch.equal(codes, expected)
    assert len(codes.unique()) > 1


def test_a_file_of_mmpretrains_encoder_loads(tmp_path: Path) -> None:
    encoder = MODELS.build(dict(type='mmpretrain.DALL-E', n_hid=8))
    torch.save(dict(state_dict=encoder.state_dict()), tmp_path / 'dalle.pth')
    tokenizer = MODELS.build(SMALL | dict(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'dalle.pth'))))
    tokenizer.init_weights()
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(tokenizer.tokenize(images * 2 - 1), encoder(images * 0.8 + 0.1).argmax(dim=1).flatten(1))


def test_beit_v1_pretrains_on_its_codes_without_aggregation() -> None:
    backbone = tiny_vit(out_indices=(1,), out_type='raw', final_norm='norm', use_mask_token=True, img_size=32)
    head = dict(type='mmbeitv2.BEiTv2MIMHead', embed_dims=32, num_codes=8192)
    preprocessor = dict(type='mmbeitv2.BEiTv2DataPreprocessor', view_size=32)
    model = MODELS.build(
        tiny_pretraining(backbone=backbone, neck=None, head=head, tokenizer=SMALL, data_preprocessor=preprocessor)
    )
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[:, 3:9] = True
    data = model.data_preprocessor({'inputs': torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), 'mask': mask})
    losses = model(data['inputs'], mode='loss')
    assert losses.keys() == {'loss_mim', 'acc_mim'}
    losses['loss_mim'].backward()
    assert model.backbone.mask_token.grad is not None
    assert not [key for key in model.state_dict() if 'tokenizer' in key]
