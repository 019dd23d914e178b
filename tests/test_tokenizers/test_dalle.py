from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from mmbeitv2.errors import InputError
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
    assert codes.shape == (2, 16)
    assert torch.equal(codes, expected)
    assert len(codes.unique()) > 1


def test_weights_must_be_whole(tmp_path: Path) -> None:
    state = MODELS.build(SMALL).encoder.state_dict()
    path = tmp_path / 'dalle.pth'
    settings = SMALL | dict(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    torch.save(dict(state_dict=state | {'extra': torch.zeros(1)}), path)
    tokenizer = MODELS.build(settings)
    tokenizer.init_weights()
    assert all(torch.equal(value, state[key]) for key, value in tokenizer.encoder.state_dict().items())
    key, value = state.popitem()
    for wrong, message in (({}, f'lacks {key}'), ({key: value[..., None]}, f'{key} has shape')):
        torch.save(dict(state_dict=state | wrong), path)
        with pytest.raises(InputError, match=message):
            MODELS.build(settings).init_weights()


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
