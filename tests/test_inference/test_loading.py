"""One function makes a model of a config and a checkpoint."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS as ENGINE
from mmengine.registry import init_default_scope
from mmseg.structures import SegDataSample

from mmbeitv2.apis import load_model
from mmbeitv2.errors import InputError
from mmbeitv2.inference.loading import pad_whole_images
from mmbeitv2.registry import MODELS
from tests.conftest import TEACHER, tiny_pretraining, tiny_tokenizer, tiny_vit, write_config
from tests.test_tools.test_export import UPERNET


def saved(tmp_path: Path, settings: dict) -> tuple[str, torch.nn.Module]:
    model = MODELS.build(settings)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    return str(tmp_path / 'model.pth'), model


def test_a_config_may_be_a_name_a_path_or_its_content(tmp_path: Path) -> None:
    checkpoint, model = saved(tmp_path, tiny_pretraining())
    config = write_config(tmp_path, f'model = {tiny_pretraining()!r}\n')
    content = Config.fromfile(config)
    before = deepcopy(content.to_dict())
    for source in (config, Path(config), content):
        loaded = load_model(source, Path(checkpoint), cfg_options={'model.backbone.drop_path_rate': 0.5})
        assert not loaded.training
        assert loaded.backbone.drop_path_rate == 0.5
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    assert content.to_dict() == before


def test_the_preprocessor_beside_the_model_is_its_own_as_in_a_runner() -> None:
    classifier = dict(type='ImageClassifier', backbone=tiny_vit())
    config = Config(
        dict(model=classifier, data_preprocessor=dict(type='ClsDataPreprocessor', mean=[1, 2, 3], std=[4] * 3))
    )
    assert load_model(config, None).data_preprocessor.mean.flatten().tolist() == [1, 2, 3]


def test_a_backbone_and_a_tokenizer_are_parts_of_a_pretraining(tmp_path: Path) -> None:
    settings = tiny_pretraining(tokenizer=tiny_tokenizer(teacher=TEACHER | dict(pretrained='none.pth')))
    config = Config(dict(model=settings))
    checkpoint, model = saved(tmp_path, tiny_pretraining())
    backbone = load_model(config, checkpoint, 'backbone')
    assert torch.equal(backbone.blocks[0].attn.qkv.weight, model.backbone.blocks[0].attn.qkv.weight)
    checkpoint, model = saved(tmp_path, tiny_tokenizer())
    tokenizer = load_model(config, checkpoint, 'tokenizer')
    assert tokenizer.teacher is None
    assert torch.equal(tokenizer.quantize.embedding.weight, model.quantize.embedding.weight)
    assert load_model(Config(dict(model=tiny_tokenizer())), checkpoint, 'tokenizer').num_codes == tokenizer.num_codes


@torch.no_grad()
def test_sides_that_are_no_multiples_of_the_patch_are_padded_with_the_mean_color() -> None:
    init_default_scope('mmseg')
    model = ENGINE.build(ConfigDict(UPERNET)).eval()
    pad_whole_images(model)
    image = torch.randint(0, 256, (3, 43, 61)).float()
    mean = model.data_preprocessor.mean.flip(0)  # of RGB; the images are BGR
    padded = mean.expand(3, 48, 64).clone()
    padded[:, :43, :61] = image
    logits = []
    for each in (image, padded):
        shape = tuple(each.shape[1:])
        sample = SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape))
        logits.append(model.test_step(dict(inputs=[each], data_samples=[sample]))[0].seg_logits.data)
    torch.testing.assert_close(logits[0], logits[1][:, :43, :61], rtol=0, atol=0)


def test_without_a_checkpoint_nothing_is_loaded() -> None:
    missing = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='none.pth')
    settings = tiny_pretraining(tokenizer=tiny_tokenizer(teacher=TEACHER | dict(pretrained='x'), init_cfg=missing))
    assert load_model(Config(dict(model=settings)), None).tokenizer.module.teacher is None


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    checkpoint, model = saved(tmp_path, tiny_pretraining())
    classifier = Config(dict(model=dict(type='ImageClassifier', backbone=tiny_vit())))
    with pytest.raises(InputError, match='has no tokenizer: its model is a ImageClassifier'):
        load_model(classifier, checkpoint, 'tokenizer')
    with pytest.raises(InputError, match='is a pretrained model .*, which does not fit the VQKD: backbone.* only in'):
        load_model(Config(dict(model=tiny_pretraining())), checkpoint, 'tokenizer')
    state = model.state_dict() | {'backbone.cls_token': torch.full((1, 1, 32), float('nan'))}
    torch.save(state, tmp_path / 'nan.pth')
    for part in ('model', 'backbone'):
        with pytest.raises(InputError, match=r'NaN or infinite numbers \(32 of 32 in (backbone.)?cls_token\)'):
            load_model(Config(dict(model=tiny_pretraining())), tmp_path / 'nan.pth', part)
