"""The list of published models: in OpenMMLab's format, true to its configs, known to mmpretrain."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import mmpretrain
import modelindex
import pytest
import timm
import torch
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from mmpretrain.apis import ModelHub

from mmbeitv2.apis import describe_model, list_models, register_published_models
from mmbeitv2.checkpoints import loading_tensors_only
from mmbeitv2.errors import InputError
from tests.conftest import ROOT, tiny_vit

ENTRIES = list(modelindex.load(str(ROOT / 'model-index.yml')).models)
CONFIG = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone={backbone!r},
    head=dict(type='LinearClsHead', num_classes=3, in_channels=32, loss=dict(type='CrossEntropyLoss')),
)
data_preprocessor = dict(num_classes=3, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
test_dataloader = dict(
    dataset=dict(type='CustomDataset', pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
"""


def test_every_entry_has_a_name_of_its_own_an_address_a_source_and_a_config_that_exists() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(names) == len(set(names)) == len(list_models()) > 60
    for entry in ENTRIES:
        assert re.fullmatch(
            r'(vqkd-base_\dx768x12-(clip|dino)|beit(v2)?-(base|large)_in(1k-\d+e|21k)_(pt|ft(-(in1k|in21k|ade20k))+(-\d+px)?))'
            r'_(release|timm|mmpretrain|mmseg|hf)',
            entry.name,
        ), entry.name
        assert urlsplit(entry.weights).scheme == 'https'
        assert (ROOT / entry.config).is_file(), entry.config
        assert entry.data['Source']
        assert entry.data['Description']
        in_name = re.search(r'-([0-9a-f]{8})\.pth$', entry.weights)
        assert entry.data.get('SHA256 Prefix') == (in_name and in_name[1])


def test_every_beit_of_timm_and_of_mmpretrain_is_there_with_its_address() -> None:
    addresses = {entry.weights for entry in ENTRIES}
    for name in timm.list_pretrained('beit*'):
        if name.startswith(('beit_', 'beitv2_')):
            assert f'https://huggingface.co/timm/{name}/resolve/main/model.safetensors' in addresses
    index = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
    for method in ('beit', 'beitv2'):
        for entry in modelindex.load(str(index / method / 'metafile.yml')).models:
            theirs = Path(urlsplit(entry.weights).path).name  # the forks keep the files elsewhere than upstream
            assert theirs in {Path(urlsplit(address).path).name for address in addresses}


def test_names_are_found_by_patterns_and_described(tmp_path: Path) -> None:
    assert list_models('beitv2-large_in1k-1600e_ft-in1k_*') == [
        'beitv2-large_in1k-1600e_ft-in1k_release',
        'beitv2-large_in1k-1600e_ft-in1k_timm',
    ]
    model = describe_model('beitv2-large_in1k-1600e_ft-in1k_release')
    assert model.results == {'ImageNet-1k': {'Top 1 Accuracy': 87.3, 'Top 5 Accuracy': 98.2}}
    assert Path(model.config).name == 'beitv2-1600e_vit-l_ft-50e_in1k_release.py'
    with pytest.raises(InputError, match='Did you mean'):
        describe_model('beitv2-large')


@pytest.fixture(params=[nullcontext, loading_tensors_only])
def registered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published models in mmpretrain's hub, for the length of a test."""
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    monkeypatch.setattr(ModelHub, '_models_dict', dict(ModelHub._models_dict))
    with request.param():
        register_published_models()


def test_when_asked_mmpretrain_lists_what_it_can_build(registered: None) -> None:
    segmentors = set(list_models('*ade20k*'))
    assert len(segmentors) > 5
    assert set(mmpretrain.list_models('*beitv2*')) >= set(list_models('beitv2*')) - segmentors
    assert not segmentors & set(mmpretrain.list_models())
    assert 'beitv2-base_in1k-1600e_ft-in1k_release' in mmpretrain.list_models(task='Image Classification')


def test_a_released_file_is_loaded_by_name_in_mmpretrain_and_mmengine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: None
) -> None:
    """A tiny classifier under the release's names stands in for the download."""
    name = 'beitv2-base_in1k-1600e_ft-in1k_release'
    backbone = tiny_vit(out_type='avg_featmap', final_norm='fc_norm', rel_pos_bias='per_layer')
    config = tmp_path / 'tiny.py'
    config.write_text(CONFIG.format(backbone=backbone))
    source = mmpretrain.get_model(str(config))
    released = {
        key.replace('head.fc.', 'head.').removeprefix('backbone.'): value for key, value in source.state_dict().items()
    }
    torch.save({'model': released}, tmp_path / 'released.pth')
    asked = []
    monkeypatch.setattr(
        'mmbeitv2.checkpoints.locating.download', lambda *given: asked.append(given) or tmp_path / 'released.pth'
    )
    monkeypatch.setattr(mmpretrain.apis.ModelHub._models_dict[name], 'data', {
        **mmpretrain.apis.ModelHub._models_dict[name].data, 'Config': str(config)})  # fmt: skip

    by_mmpretrain = mmpretrain.get_model(name, pretrained=True)
    by_mmengine = mmpretrain.get_model(str(config))
    with loading_tensors_only():
        load_checkpoint(by_mmengine, name)
    init_cfg = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=name)
    encoder = MODELS.build(backbone | dict(init_cfg=init_cfg))
    encoder.init_weights()
    for model in (by_mmpretrain, by_mmengine):
        for key, value in source.state_dict().items():
            assert torch.equal(model.state_dict()[key], value), key
    for key, value in source.backbone.state_dict().items():
        assert torch.equal(encoder.state_dict()[key], value), key
    assert asked[0][0].endswith('beitv2_base_patch16_224_pt1k_ft1k.pth')

    inferencer = mmpretrain.ImageClassificationInferencer(name, classes=list('abc'))
    (result,) = inferencer(torch.randint(256, (32, 32, 3), dtype=torch.uint8).numpy())
    assert len(result['pred_scores']) == 3
