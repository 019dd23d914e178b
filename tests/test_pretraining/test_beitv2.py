from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmpretrain.apis import FeatureExtractor
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch.nn.parallel import DistributedDataParallel

from mmbeitv2.interfaces import PretrainingBackbone
from mmbeitv2.pretraining.beitv2 import BEiTv2
from mmbeitv2.pretraining.preprocessor import MaskedBatch
from mmbeitv2.registry import MODELS as OURS
from tests.conftest import ROOT, TEACHER, randomize, tiny_kmeans, tiny_pretraining, tiny_tokenizer
from tests.forked import spawn
from tests.test_docs.blocks import blocks_of

OPTIM = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-2),
    constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
)

BACKBONE, NECK, HEAD = (tiny_pretraining()[part] for part in ('backbone', 'neck', 'head'))


def build(**changes: object) -> BEiTv2:
    model = MODELS.build(tiny_pretraining(**changes))
    model.init_weights()
    return model


def make_data(batch: int = 4, num_masked: int = 6) -> dict:
    mask = torch.stack([torch.randperm(16) < num_masked for _ in range(batch)])
    return dict(inputs=torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8), mask=mask)


def make_batch(model: BEiTv2, **kwargs: int) -> MaskedBatch:
    return model.data_preprocessor(make_data(**kwargs))['inputs']


@pytest.mark.parametrize('shared_head', [True, False])
def test_losses_equal_the_formula_with_boolean_masks(shared_head: bool) -> None:
    model = build(neck=NECK | dict(shared_head=shared_head), head=HEAD | dict(shared_head=shared_head)).eval()
    randomize(model)
    batch = make_batch(model)
    losses = model(batch, mode='loss')
    codes = model.tokenizer.module.tokenize(batch['views'])[batch['mask']]
    bias = model.backbone.position_context((4, 4))
    model.backbone.final_norm = 'none'
    layer_l, last = model.backbone(batch['images'], batch['mask'])
    aggregated = torch.cat((last[:, :1], layer_l[:, 1:]), dim=1)
    for block in model.neck.blocks:
        aggregated = block(aggregated, bias)
    second_norm = model.backbone.norm if shared_head else model.neck.norm
    second_head = model.head.lm_head if shared_head else model.head.cls_pt_lm_head
    logits = model.head.lm_head(model.backbone.norm(last)[:, 1:][batch['mask']])
    torch.testing.assert_close(losses['loss_mim'], F.cross_entropy(logits, codes))
    torch.testing.assert_close(losses['acc_mim'], 100 * (logits.argmax(1) == codes).float().mean())
    logits = second_head(second_norm(aggregated)[:, 1:][batch['mask']])
    torch.testing.assert_close(losses['loss_mim_cls'], F.cross_entropy(logits, codes))
    torch.testing.assert_close(losses['acc_mim_cls'], 100 * (logits.argmax(1) == codes).float().mean())


def test_the_tokenizer_is_frozen_for_real() -> None:
    model = build().train()
    optim = build_optim_wrapper(model, OPTIM)
    tokenizer = model.tokenizer.module
    held = {id(parameter) for parameter in tokenizer.parameters()}
    assert not held & {id(p) for group in optim.optimizer.param_groups for p in group['params']}
    assert not [key for key in model.state_dict() if 'tokenizer' in key]
    before = {key: value.clone() for key, value in tokenizer.state_dict().items()}
    view = torch.rand(2, 3, 32, 32) * 2 - 1
    codes = tokenizer.tokenize(view)
    for _ in range(3):
        model.train()
        model.train_step(make_data(), optim)
    assert not any(module.training for module in tokenizer.modules())
    assert torch.equal(tokenizer.tokenize(view), codes)
    assert all(torch.equal(value, before[key]) for key, value in tokenizer.state_dict().items())
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert torch.equal(other.tokenizer.module.tokenize(view), codes)


@pytest.mark.parametrize('precision', ['float16', 'bfloat16', 'float32'])
def test_under_autocast_the_tokenizer_computes_in_its_own_precision_and_else_in_float32(precision: str) -> None:
    model = build(tokenizer_precision=precision)
    found = []
    layer = model.tokenizer.module.encoder.blocks[0].mlp.fc1
    layer.register_forward_hook(lambda module, inputs, output: found.append(output.dtype))
    batch = make_batch(model)
    model(batch, mode='loss')
    with torch.autocast('cpu', torch.bfloat16):
        model(batch, mode='loss')
    assert found == [torch.float32, getattr(torch, precision)]


@pytest.mark.parametrize('rel_pos_bias', ['shared', 'per_layer', 'none'])
def test_every_parameter_gets_a_gradient(rel_pos_bias: str) -> None:
    model = build(backbone=BACKBONE | dict(rel_pos_bias=rel_pos_bias))
    losses = model(make_batch(model), mode='loss')
    (losses['loss_mim'] + losses['loss_mim_cls']).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_six_channels_are_learned_from_with_the_codes_of_six_or_of_three_of_them() -> None:
    preprocessor = dict(
        type='mmbeitv2.BEiTv2DataPreprocessor', mean=[100] * 6, std=[50] * 6, to_rgb=False, color_channels=(2, 1, 0)
    )
    vqkd = tiny_tokenizer(encoder=dict(tiny_tokenizer()['encoder'], in_channels=6))
    kmeans = tiny_kmeans(teacher=TEACHER, teacher_channels=(2, 1, 0), in_channels=6)
    for tokenizer in (vqkd, kmeans):
        backbone = dict(tiny_pretraining()['backbone'], in_channels=6)
        model = build(backbone=backbone, tokenizer=tokenizer, data_preprocessor=preprocessor)
        data = make_data() | dict(inputs=torch.randint(0, 256, (4, 6, 32, 32), dtype=torch.uint8))
        losses = model(**model.data_preprocessor(data), mode='loss')
        assert all(value.isfinite() for value in losses.values())


def test_predictions_hold_codes_guesses_and_mask_of_each_image() -> None:
    model = build().eval()
    batch = make_batch(model)
    samples = model(batch, mode='predict')
    logits = model.head.lm_head(model.backbone(batch['images'], batch['mask'])[1])[:, 1:]
    codes = model.tokenizer.module.tokenize(batch['views'])
    for i, sample in enumerate(samples):
        assert torch.equal(sample.codes, codes[i])
        assert torch.equal(sample.predicted_codes, torch.where(batch['mask'][i], logits[i].argmax(-1), codes[i]))
        assert torch.equal(sample.mask, batch['mask'][i])


@pytest.fixture
def _parts_of_the_page() -> Iterator[None]:
    """A tokenizer and a backbone of torch's layers that share nothing with ours: those of the page Extend."""
    blocks, names = list(blocks_of(ROOT / 'docs/guides/extend.md')), {}
    for part in ('ColorTokenizer', 'TorchViT'):
        OURS.module_dict.pop(part, None)  # the page's own test
        exec(next(block.code for block in blocks if f'class {part}(' in block.code), names)
    yield
    for part in ('ColorTokenizer', 'TorchViT'):
        OURS.module_dict.pop(part)


@pytest.mark.usefixtures('_parts_of_the_page')
@pytest.mark.parametrize('shared_head', [True, False])
def test_a_foreign_backbone_learns_a_fixed_batch(shared_head: bool) -> None:
    parts = {'neck': NECK | dict(shared_head=shared_head), 'head': HEAD | dict(shared_head=shared_head)}
    backbone = dict(type='mmbeitv2.TorchViT', img_size=32, patch_size=8, embed_dims=48)
    model = build(backbone=backbone, **parts).train()
    assert isinstance(model.backbone, PretrainingBackbone)
    optim, data = build_optim_wrapper(model, OPTIM), make_data()
    losses = model(make_batch(model), mode='loss')
    (losses['loss_mim'] + losses['loss_mim_cls']).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    first = model.train_step(dict(data), optim)
    for _ in range(60):
        last = model.train_step(dict(data), optim)
    assert last['loss_mim'] < 0.5 * first['loss_mim']
    assert last['loss_mim_cls'] < 0.5 * first['loss_mim_cls']
    assert model.predict(make_batch(model))[0].predicted_codes.shape == (16,)


def test_plain_images_give_features_in_the_tools_of_mmpretrain() -> None:
    model = build().eval()
    assert isinstance(model, BaseSelfSupervisor)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    expected = model.backbone((images.flip(1).float() - mean) / std)
    found = model.extract_feat(**{'inputs': model.data_preprocessor(dict(inputs=images))['inputs']})
    torch.testing.assert_close(found, expected)
    # As mmpretrain's feature extractor, its t-SNE and its count of operations call it.
    pipeline = [dict(type='mmpretrain.PackInputs')]
    cfg = Config(dict(model=dict(type='mmbeitv2.BEiTv2'), test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    model._config = cfg
    extracted = FeatureExtractor(model)([image.permute(1, 2, 0).numpy() for image in images], batch_size=2)
    for i, features in enumerate(extracted):
        torch.testing.assert_close(features[-1], expected[-1][i])
    data = model.data_preprocessor(dict(inputs=images, data_samples=[DataSample(), DataSample()]))
    assert len(data['data_samples']) == 2
    model.forward = model.extract_feat
    assert get_model_complexity_info(model, (3, 32, 32))['flops'] > 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(head=HEAD | dict(num_codes=99)), 'Set model.head.num_codes=16'),
        (dict(neck=NECK | dict(shared_head=False)), 'neck.shared_head=False, but model.head.shared_head=True'),
        (dict(backbone=BACKBONE | dict(in_channels=4)), 'in_channels=4, but the tokenizer takes images of 3 channels'),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_a_view_of_another_grid_than_the_mask_is_refused() -> None:
    model = build(data_preprocessor=dict(type='mmbeitv2.BEiTv2DataPreprocessor', view_size=16))
    with pytest.raises(ValueError, match='makes 4 codes per image, but the mask has 16 patches'):
        model(make_batch(model), mode='loss')


def _train(rank: int, world_size: int, folder: str) -> None:
    torch.manual_seed(0)
    model = build().train()
    wrapped = DistributedDataParallel(model) if world_size > 1 else model  # raises on unused parameters
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for data in torch.load(f'{folder}/batches.pt'):
        part = {key: value.chunk(world_size)[rank] for key, value in data.items()}
        losses = wrapped(model.data_preprocessor(part)['inputs'], mode='loss')
        optimizer.zero_grad()
        (losses['loss_mim'] + losses['loss_mim_cls']).backward()
        optimizer.step()
    torch.save(model.state_dict(), f'{folder}/{world_size}_{rank}.pt')


def test_two_ranks_with_half_the_batch_equal_one_with_the_whole(tmp_path: Path) -> None:
    torch.save([make_data() for _ in range(5)], tmp_path / 'batches.pt')
    spawn(_train, 2, str(tmp_path))
    _train(0, 1, str(tmp_path))
    one, two = torch.load(tmp_path / '1_0.pt'), torch.load(tmp_path / '2_0.pt')
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=0, atol=1e-5, msg=key)


def with_drop_path() -> BEiTv2:
    return build(backbone=BACKBONE | dict(drop_path_rate=0.3)).train()


def test_the_step_is_one_graph_for_the_compiler() -> None:
    """No graph break: no shape that depends on data, no reading of a tensor by the host."""
    model = with_drop_path()
    batch = make_batch(model)
    losses = []
    for forward in (model, torch.compile(model, fullgraph=True, backend='eager')):
        torch.manual_seed(0)
        losses.append(forward(batch, mode='loss'))
        (losses[-1]['loss_mim'] + losses[-1]['loss_mim_cls']).backward()
    assert losses[0].keys() == losses[1].keys()
    for key, value in losses[0].items():
        torch.testing.assert_close(losses[1][key], value)


@pytest.mark.gpu
def test_the_step_never_waits_for_the_device() -> None:
    model = with_drop_path().cuda()
    data = {key: value.pin_memory() for key, value in make_data().items()}

    def step() -> None:
        losses = model(model.data_preprocessor(data)['inputs'], mode='loss')
        (losses['loss_mim'] + losses['loss_mim_cls']).backward()

    step()  # what is set up once
    torch.cuda.set_sync_debug_mode('error')
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode('default')
