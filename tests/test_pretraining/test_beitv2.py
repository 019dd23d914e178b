from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from torch.nn.parallel import DistributedDataParallel

from mmbeitv2.pretraining.beitv2 import BEiTv2
from mmbeitv2.pretraining.preprocessor import MaskedBatch
from tests.conftest import TEACHER, tiny_kmeans, tiny_pretraining, tiny_tokenizer, tiny_vit
from tests.forked import spawn

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


@pytest.mark.parametrize('is_shared', [True, False])
def test_losses_equal_the_formula_with_boolean_masks(is_shared: bool) -> None:
    model = build(neck=NECK | dict(is_shared=is_shared), head=HEAD | dict(is_shared=is_shared)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    batch = make_batch(model)
    losses = model(batch, mode='loss')
    codes = model.tokenizer.module.tokenize(batch['views'])[batch['mask']]
    bias = model.backbone.rel_pos_bias((4, 4))
    model.backbone.final_norm = 'none'
    early, last = model.backbone(batch['images'], batch['mask'])
    aggregated = torch.cat((last[:, :1], early[:, 1:]), dim=1)
    for block in model.neck.blocks:
        aggregated = block(aggregated, bias)
    second_norm = model.backbone.norm if is_shared else model.neck.norm
    second_head = model.head.lm_head if is_shared else model.head.cls_pt_lm_head
    logits = model.head.lm_head(model.backbone.norm(last)[:, 1:][batch['mask']])
    torch.testing.assert_close(losses['loss_mim'], F.cross_entropy(logits, codes))
    logits = second_head(second_norm(aggregated)[:, 1:][batch['mask']])
    torch.testing.assert_close(losses['loss_mim_cls'], F.cross_entropy(logits, codes))


def test_without_neck_only_the_main_branch_remains() -> None:
    backbone = tiny_vit(out_type='raw', final_norm='norm', use_mask_token=True)
    model = build(neck=None, backbone=backbone)
    losses = model(make_batch(model), mode='loss')
    assert set(losses) == {'loss_mim', 'acc_mim'}


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


def test_codes_do_not_depend_on_the_precision_of_the_training() -> None:
    quantizer = dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=4096, code_dim=8)
    model = build(tokenizer=tiny_tokenizer(quantizer=quantizer))
    for parameter in model.tokenizer.module.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    batch = make_batch(model, batch=64)
    expected = model.tokenizer.module.tokenize(batch['views'])
    with torch.autocast('cpu', torch.bfloat16):
        assert not torch.equal(model.tokenizer.module.tokenize(batch['views']), expected)
        assert torch.equal(torch.stack([sample.codes for sample in model(batch, mode='predict')]), expected)


@pytest.mark.gpu
@pytest.mark.parametrize('precision', ['float16', 'bfloat16', 'float32'])
def test_the_tokenizer_computes_in_its_own_precision(precision: str) -> None:
    model = build(tokenizer_precision=precision).cuda()
    found = []
    layer = model.tokenizer.module.encoder.blocks[0].mlp.fc1
    layer.register_forward_hook(lambda module, inputs, output: found.append(output.dtype))
    with torch.autocast('cuda', torch.bfloat16):
        model(model.data_preprocessor(make_data())['inputs'], mode='loss')
    assert found == [getattr(torch, precision)]


def test_every_parameter_gets_a_gradient() -> None:
    model = build()
    losses = model(make_batch(model), mode='loss')
    (losses['loss_mim'] + losses['loss_mim_cls']).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_learns_a_fixed_batch() -> None:
    model = build().train()
    optim = build_optim_wrapper(model, OPTIM)
    data = make_data()
    first = model.train_step(dict(data), optim)['loss_mim']
    for _ in range(60):
        last = model.train_step(dict(data), optim)['loss_mim']
    assert last < 0.5 * first


def test_accumulated_halves_equal_the_whole_batch() -> None:
    data = make_data(batch=8)
    gradients = []
    for parts in (1, 2):
        torch.manual_seed(0)
        model = build().train()
        optim = build_optim_wrapper(model, OPTIM | dict(accumulative_counts=parts))
        optim.initialize_count_status(model, 0, 8)
        found: dict[str, torch.Tensor] = {}

        def keep(*_: object, model: BEiTv2 = model, found: dict[str, torch.Tensor] = found) -> None:
            found.update({name: parameter.grad.clone() for name, parameter in model.named_parameters()})

        optim.optimizer.register_step_pre_hook(keep)
        for part in range(parts):
            size = 8 // parts
            model.train_step({key: value[part * size : (part + 1) * size] for key, value in data.items()}, optim)
        gradients.append(found)
    assert gradients[0].keys() == gradients[1].keys() != set()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4, msg=name)


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
    for i, sample in enumerate(samples):
        assert torch.equal(sample.predicted_codes, logits[i].argmax(-1))
        assert torch.equal(sample.mask, batch['mask'][i])
        assert sample.codes.shape == (16,)


def test_the_neck_continues_the_blocks_of_the_backbone() -> None:
    arch = dict(embed_dims=48, depth=4, num_heads=3)
    backbone = BACKBONE | dict(
        arch=arch, out_indices=(1, 3), mlp_ratio=3.0, layer_scale_init_value=1e-5, drop_path_rate=0.3
    )
    model = build(backbone=backbone)
    assert model.neck.start_layer == 2
    for block in model.neck.blocks:
        assert [tuple(parameter.shape) for parameter in block.parameters()] == [
            tuple(parameter.shape) for parameter in model.backbone.blocks[0].parameters()
        ]
        assert block.attn.num_heads == 3
        assert (block.gamma_1 == 1e-5).all()
    # Blocks 2 and 3, counted from 0, of four whose rates grow linearly to 0.3.
    assert [block.drop_path.drop_prob for block in model.neck.blocks] == pytest.approx([0.2, 0.3])
    assert model.head.lm_head.weight.shape == (16, 48)
    own = build(backbone=backbone, neck=NECK | dict(drop_path_rate=0.0, layer_scale_init_value=0.5))
    assert (own.neck.blocks[1].gamma_2 == 0.5).all()
    assert isinstance(own.neck.blocks[1].drop_path, torch.nn.Identity)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(tokenizer_precision='int8'), "precision='int8' is unknown. Choose one of float16"),
        (dict(head=HEAD | dict(num_codes=99)), 'Set model.head.num_codes=16'),
        (dict(head=HEAD | dict(embed_dims=48)), 'embed_dims=48, but the backbone has 32. Leave it out'),
        (dict(backbone=tiny_vit(out_indices=(0, 1))), "out_type='raw'"),
        (dict(backbone=BACKBONE | dict(out_indices=1)), 'must name 2 block'),
        (dict(backbone=BACKBONE | dict(use_mask_token=False)), 'use_mask_token=True'),
        (dict(neck=NECK | dict(num_heads=4)), 'num_heads=4, but the backbone has 2. Leave it out'),
        (dict(neck=NECK | dict(start_layer=2)), 'start_layer=2, but the backbone has 1. .*set model.backbone.out_ind'),
        (
            dict(neck=NECK | dict(is_shared=False)),
            'neck.is_shared=False, but model.head.is_shared=True. Set both',
        ),
        (
            dict(head=HEAD | dict(is_shared=False)),
            'neck.is_shared=True, but model.head.is_shared=False. Set both',
        ),
        (dict(neck=None, backbone=BACKBONE | dict(out_indices=1), head=HEAD | dict(is_shared=False)), 'neck is None'),
        (dict(backbone=BACKBONE | dict(final_norm='deferred')), "write final_norm='norm' instead of 'deferred'"),
        (dict(backbone=BACKBONE | dict(init_cutoff=0.02)), "init_rule='pretraining' instead of init_cutoff"),
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
    if world_size > 1:
        dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
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
    if world_size > 1:
        dist.destroy_process_group()


def test_two_ranks_with_half_the_batch_equal_one_with_the_whole(tmp_path: Path) -> None:
    torch.save([make_data() for _ in range(5)], tmp_path / 'batches.pt')
    spawn(_train, 2, str(tmp_path))
    _train(0, 1, str(tmp_path))
    one, two = torch.load(tmp_path / '1_0.pt'), torch.load(tmp_path / '2_0.pt')
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=0, atol=1e-5, msg=key)


def with_drop_path() -> BEiTv2:
    backbone = tiny_vit(out_indices=(0, 1), out_type='raw', final_norm='norm', use_mask_token=True, drop_path_rate=0.3)
    return build(backbone=backbone).train()


def test_the_step_is_one_graph_for_the_compiler() -> None:
    """No graph break: no shape that depends on data, no reading of a tensor by the host."""
    model = with_drop_path()
    batch = make_batch(model)
    losses = []
    for forward in (model, torch.compile(model, fullgraph=True, backend='aot_eager')):
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
