"""Mask decoding on the ViT (EoMTViT and EoMTHead), with transformers' EoMT as the oracle."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from transformers import EomtConfig, EomtForUniversalSegmentation, EomtImageProcessor

from mmbeitv2.errors import InputError
from mmbeitv2.segmentation.eomt_head import EoMTHead
from mmbeitv2.segmentation.eomt_vit import EoMTViT, MaskPrediction, attn_mask_probs, masked_attention_mask
from tests.conftest import tiny_vit
from tests.forked import spawn
from tests.test_backbones.test_timm_vit import DINOV3
from tests.test_backbones.test_timm_vit import settings as timm_settings

NUM_QUERIES, NUM_CLASSES, NUM_POINTS = 6, 5, 64
WIDTH, DEPTH = 32, 3
THEIR_NAMES = {
    'patch_embed.proj': 'embeddings.patch_embeddings.projection',
    'blocks.': 'layers.',
    'attn.proj': 'attention.out_proj',
    'gamma_1': 'layer_scale1.lambda1',
    'gamma_2': 'layer_scale2.lambda1',
    'norm.': 'layernorm.',
    'mask_module.queries': 'query.weight',
    'mask_module.mask_mlp.0': 'mask_head.fc1',
    'mask_module.mask_mlp.2': 'mask_head.fc2',
    'mask_module.mask_mlp.4': 'mask_head.fc3',
    'mask_module.upscale.0.0': 'upscale_block.block.0.conv1',
    'mask_module.upscale.0.2': 'upscale_block.block.0.conv2',
    'mask_module.upscale.0.3': 'upscale_block.block.0.layernorm2d',
}


def at_progress(iteration: int, of: int) -> None:
    """What the runner tells the model in the step ``iteration``."""
    hub = MessageHub.get_instance('training')
    hub.update_info('loop_stage', 'train')
    hub.update_info('iter', iteration)
    hub.update_info('max_iters', of)


def backbone(**changes: object) -> EoMTViT:
    arch = dict(embed_dims=WIDTH, depth=DEPTH, num_heads=2)
    settings = dict(type='mmbeitv2.EoMTViT', num_queries=NUM_QUERIES, query_blocks=2, num_upscales=1)
    model = MODELS.build(tiny_vit(arch=arch, rel_pos_bias='per_layer') | settings | changes)
    model.init_weights()
    return model


def head(**changes: object) -> EoMTHead:
    return EoMTHead(**(dict(in_channels=WIDTH, num_classes=NUM_CLASSES, num_points=NUM_POINTS) | changes))


@torch.no_grad()
def transformers_eomt(vit: EoMTViT, decode_head: EoMTHead) -> EomtForUniversalSegmentation:
    """transformers' model with the weights of ours; it has no position bias."""
    config = EomtConfig(
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        num_upscale_blocks=1,
        num_blocks=2,
        train_num_points=NUM_POINTS,
        num_queries=NUM_QUERIES,
        num_register_tokens=0,
    )
    config.num_labels = NUM_CLASSES
    other = EomtForUniversalSegmentation(config)
    vit.pos_embed[:, 0] = 0  # theirs has no position for CLS
    state = {f'class_predictor.{key}': value for key, value in decode_head.class_predictor.state_dict().items()}
    state |= {'embeddings.cls_token': vit.cls_token, 'embeddings.position_embeddings.weight': vit.pos_embed[0, 1:]}
    for i, block in enumerate(vit.blocks):
        biases = (block.attn.q_bias, torch.zeros(WIDTH), block.attn.v_bias)
        for name, weight, bias in zip('qkv', block.attn.qkv.weight.chunk(3), biases, strict=True):
            projection = f'layers.{i}.attention.{name}_proj'
            state |= {f'{projection}.weight': weight, f'{projection}.bias': bias}
    for key, value in vit.state_dict().items():
        for ours, theirs in THEIR_NAMES.items():
            key = key.replace(ours, theirs)
        state.setdefault(key, value)
    missing, _ = other.load_state_dict(state, strict=False)
    assert set(missing) <= {'attn_mask_probs', 'criterion.empty_weight', 'embeddings.register_tokens'}
    return other


@pytest.fixture
def models() -> SimpleNamespace:
    """Our model, and transformers' with the same weights."""
    vit = backbone(rel_pos_bias='none', use_abs_pos_emb=True, layer_scale_init_value=1.0)
    with torch.no_grad():
        for parameter in vit.parameters():  # so large that masks and attention are not nearly constant
            parameter.add_(torch.randn_like(parameter) * 0.1)
    decode_head = head()
    return SimpleNamespace(vit=vit, head=decode_head, theirs=transformers_eomt(vit, decode_head))


def samples(maps: torch.Tensor) -> list[SegDataSample]:
    return [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in maps]


def masks_of(maps: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Masks and classes of label maps, written out: one mask for each class that an image has."""
    labels = [torch.tensor([c for c in range(NUM_CLASSES) if (one == c).any()], dtype=torch.long) for one in maps]
    masks = [torch.stack([(one == c).float() for c in label]) for one, label in zip(maps, labels, strict=True)]
    return masks, labels


def test_inference_equals_transformers(models: SimpleNamespace) -> None:
    images = torch.randn(2, 3, 32, 32)
    for part in (models.vit, models.theirs):
        part.eval()
    models.theirs.attn_mask_probs.zero_()  # as after training
    with torch.no_grad():
        expected = models.theirs(images)
        (prediction,) = models.vit(images)
        scores = models.head.predict((prediction,), [dict(img_shape=(32, 32))] * 2, {})
    torch.testing.assert_close(prediction.masks, expected.masks_queries_logits, rtol=1e-4, atol=1e-4)
    processor = EomtImageProcessor(size=dict(shortest_edge=32, longest_edge=32))
    for score, result in zip(
        scores,
        processor.post_process_semantic_segmentation(expected, [(32, 32)] * 2, return_segmentation_scores=True),
        strict=True,
    ):
        torch.testing.assert_close(score, result.segmentation_scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('iteration', [0, 30])  # of 100: nothing is annealed; the first block's masks are, in part
def test_training_loss_and_gradient_equal_transformers(models: SimpleNamespace, iteration: int) -> None:
    images, maps = torch.randn(2, 3, 32, 32), torch.randint(0, NUM_CLASSES, (2, 32, 32)) // 2 * 2
    maps[0, :8] = 255
    masks, labels = masks_of(maps)
    at_progress(iteration, 100)
    models.theirs.attn_mask_probs.copy_(torch.tensor(attn_mask_probs(2)))
    for part in (models.vit, models.theirs):
        part.train()
    # Theirs draws before the block's attention and then for the loss, both in order; so does ours.
    torch.manual_seed(1)
    expected = models.theirs(images, mask_labels=masks, class_labels=labels).loss
    torch.manual_seed(1)
    losses = models.head.loss(models.vit(images), samples(maps), {})
    assert len(losses) == 3 * 3
    total = sum(losses.values())
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-5)
    total.backward()
    expected.backward()
    for ours, theirs in (
        (models.vit.mask_module.queries, models.theirs.query.weight),
        (models.vit.cls_token, models.theirs.embeddings.cls_token),
        (models.vit.patch_embed.proj.weight, models.theirs.embeddings.patch_embeddings.projection.weight),
    ):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4)


def test_queries_have_a_position_bias_of_their_own_that_starts_at_zero_and_learns() -> None:
    vit = backbone().eval()
    assert vit.mask_module.query_bias.shape == (2, 5, 2)
    assert not vit.mask_module.query_bias.any()
    vit(torch.randn(1, 3, 32, 32))[0].masks.square().sum().backward()
    assert vit.mask_module.query_bias.grad[0].abs().amin() > 0  # in the last block, nothing reads what CLS computes
    table = torch.randn(1, 2, 4, 4)  # CLS and three patches
    with torch.no_grad():
        vit.mask_module.query_bias.copy_(torch.randn(2, 5, 2))
        vit.mask_module.queries = torch.nn.Parameter(torch.zeros(2, WIDTH))
        joined = vit.mask_module.join_bias(table, 1, None)
    assert torch.equal(joined[:, :, 2:, 2:], table)
    for of_head in range(2):
        cls_query, patch_query, query_cls, query_patch, query_query = vit.mask_module.query_bias[1, :, of_head]
        assert (joined[0, of_head, 2, :2] == cls_query).all()
        assert (joined[0, of_head, 3:, :2] == patch_query).all()
        assert (joined[0, of_head, :2, 2] == query_cls).all()
        assert (joined[0, of_head, :2, 3:] == query_patch).all()
        assert (joined[0, of_head, :2, :2] == query_query).all()


def test_patches_that_cannot_see_the_queries_are_those_of_the_vit_without_queries() -> None:
    """The patches see the backbone's position bias, and the queries change nothing else."""
    vit = backbone().eval()
    plain = MODELS.build(
        tiny_vit(arch=dict(embed_dims=WIDTH, depth=DEPTH, num_heads=2), rel_pos_bias='per_layer', out_type='featmap')
    ).eval()
    with torch.no_grad():
        for block in vit.blocks:
            block.attn.relative_position_bias_table.normal_()
        plain.load_state_dict(
            {key: value for key, value in vit.state_dict().items() if not key.startswith('mask_module.')}
        )
        vit.mask_module.query_bias[:, :2] = -torch.inf  # CLS and patches to queries
        vit.mask_module.mask_mlp = torch.nn.Identity()
        seen = []
        vit.mask_module.upscale.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        images = torch.randn(2, 3, 32, 24)
        vit(images)
        torch.testing.assert_close(seen[-1], plain(images)[0])


def test_the_masks_are_lifted_block_by_block_as_a_function_of_the_iteration() -> None:
    assert attn_mask_probs(3) == [1.0, 1.0, 1.0]  # without a runner
    # EoMT's recipe for Cityscapes, ViT-B: three blocks from steps 3317, 8292, 13268 to 6634, 11609, 16585 of 19902.
    for start, end, block in ((3317, 6634, 0), (8292, 11609, 1), (13268, 16585, 2)):
        for iteration, expected in ((start - 2, 1.0), ((start + end) / 2, 0.5**0.9), (end + 2, 0.0)):
            at_progress(iteration, 19902)
            assert attn_mask_probs(3)[block] == pytest.approx(expected, abs=1e-3)
    MessageHub.get_instance('training').pop_info('loop_stage')  # as at the end of a run
    assert attn_mask_probs(3) == [1.0, 1.0, 1.0]
    torch.manual_seed(0)
    outside = torch.full((100, 100, 2, 2), -1.0)
    assert masked_attention_mask(outside, (2, 2), 0.0) is None
    assert masked_attention_mask(outside, (2, 2), 1.0).all()
    assert not masked_attention_mask(-outside, (2, 2), 1.0).any()
    share = masked_attention_mask(outside, (2, 2), 0.3)
    assert torch.equal(share.any(2), share.all(2))  # whole queries are freed
    assert share.float().mean() == pytest.approx(0.3, abs=0.02)


def test_images_without_a_label_give_a_finite_loss_and_gradients_for_all() -> None:
    vit, decode_head = backbone(), head()
    maps = torch.full((2, 32, 32), 255)
    for labeled in (False, True):
        if labeled:
            maps[0, :16] = 3
        losses = decode_head.loss(vit(torch.randn(2, 3, 32, 32)), samples(maps), {})
        assert all(torch.isfinite(loss) for loss in losses.values())
        sum(losses.values()).backward()
        assert all(p.grad is not None for part in (vit, decode_head) for p in part.parameters())  # as DDP wants


def test_a_segmentor_of_mmseg_trains_slides_and_keeps_no_constants_in_its_checkpoint() -> None:
    from mmseg.models import EncoderDecoder

    model = EncoderDecoder(
        backbone=tiny_vit(type='mmbeitv2.EoMTViT', num_queries=NUM_QUERIES, query_blocks=1, num_upscales=1),
        decode_head=dict(type='mmbeitv2.EoMTHead', in_channels=32, num_classes=NUM_CLASSES, num_points=16),
        test_cfg=ConfigDict(mode='slide', crop_size=(32, 32), stride=(21, 21)),
    )
    assert not [key for key in model.state_dict() if 'mask_loss' in key]
    images, maps = torch.randn(2, 3, 32, 32), torch.randint(0, NUM_CLASSES, (2, 32, 32))
    losses = model.loss(images, samples(maps))
    assert set(losses) == {f'decode.{prefix}loss_{name}' for prefix in ('', 'd0.') for name in ('cls', 'mask', 'dice')}
    model.eval()
    with torch.no_grad():
        (result,) = model.predict(torch.randn(1, 3, 40, 61))
        assert result.pred_sem_seg.data.shape == (1, 40, 61)
        assert model(images).shape == (2, NUM_CLASSES, 8, 8)


def one_point(*shape: int, **_: object) -> torch.Tensor:
    """In the place of ``torch.rand``: one point for all masks."""
    return torch.full(shape, 0.4)


def _losses_of_a_rank(
    rank: int, folder: str, decode_head: EoMTHead, prediction: MaskPrediction, maps: torch.Tensor
) -> None:
    torch.rand = one_point
    share = slice(0, 1) if rank == 0 else slice(1, 3)
    share_of_it = MaskPrediction(*(values[share] for values in prediction))
    torch.save(decode_head.loss([share_of_it], samples(maps[share]), {}), f'{folder}/{rank}.pt')


@torch.no_grad()
def test_two_processes_have_the_loss_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their images have different numbers of masks, so the mean of two means would be another."""
    monkeypatch.setattr(torch, 'rand', one_point)
    prediction = MaskPrediction(torch.randn(3, NUM_QUERIES, WIDTH), torch.randn(3, NUM_QUERIES, 8, 8))
    decode_head = head()
    maps = torch.zeros(3, 32, 32, dtype=torch.long)
    maps[1:] = torch.arange(4).repeat_interleave(8)
    spawn(_losses_of_a_rank, str(tmp_path), decode_head, prediction, maps)
    ranks = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    for name, loss in decode_head.loss([prediction], samples(maps), {}).items():
        torch.testing.assert_close((ranks[0][name] + ranks[1][name]) / 2, loss)  # DDP takes the mean


@pytest.mark.parametrize('kind', ['EoMTViT', 'EoMTTimmViT'])
def test_a_frozen_encoder_is_read_by_copies_of_its_last_blocks_which_alone_are_trained(
    kind: str, tmp_path: Path
) -> None:
    plain = tiny_vit(arch=dict(embed_dims=WIDTH, depth=DEPTH, num_heads=2), rel_pos_bias='per_layer')
    if kind == 'EoMTTimmViT':
        plain = timm_settings(model=DINOV3, depth=DEPTH)
    pretrained = MODELS.build(plain)
    for parameter in pretrained.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    state = {f'backbone.{key}': value for key, value in pretrained.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'pretrained.pth')
    settings = plain | dict(type=f'mmbeitv2.{kind}', num_queries=NUM_QUERIES, query_blocks=2, num_upscales=1)
    settings |= dict(init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=str(tmp_path / 'pretrained.pth')))
    images, maps = torch.randn(2, 3, 32, 32), torch.randint(0, NUM_CLASSES, (2, 32, 32))

    def build(**changes: object) -> torch.nn.Module:
        torch.manual_seed(0)
        model = MODELS.build(settings | changes)
        model.init_weights()
        return model.eval()

    vit, whole = build(frozen_encoder=True, drop_path_rate=0.5), build()
    with torch.no_grad():
        whole.mask_module.load_state_dict(vit.mask_module.state_dict())
        torch.testing.assert_close(vit(images)[0], whole(images)[0])
    vit.train()
    decode_head, before = head(), {key: value.clone() for key, value in vit.state_dict().items()}
    optimizer = torch.optim.AdamW([*vit.parameters(), *decode_head.parameters()], lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        sum(decode_head.loss(vit(images), samples(maps), {}).values()).backward()
        optimizer.step()
    moved = {name for name, parameter in vit.named_parameters() if not torch.equal(parameter, before[name])}
    trained = {name for name, parameter in vit.named_parameters() if parameter.requires_grad}
    assert moved == trained == {name for name in before if name.startswith(('mask_module.', 'query_layers.'))}
    assert not any(module.training for block in vit.blocks for module in block.modules())
    other = MODELS.build(settings | dict(frozen_encoder=True)).eval()
    other.load_state_dict(vit.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(other(images)[0], vit.eval()(images)[0])


def test_parts_that_do_not_fit_are_refused() -> None:
    for build, changes, sentence in (
        (backbone, dict(query_blocks=4), 'query_blocks=4 does not fit a backbone of 3 blocks. Choose from 1 to 3'),
        (head, dict(num_classes=1), 'num_classes=1 must be at least 2'),
    ):
        with pytest.raises(InputError, match=sentence):
            build(**changes)
    with pytest.raises(InputError, match="Set backbone.type='mmbeitv2.EoMTViT'"):
        head()(MODELS.build(tiny_vit(out_type='featmap'))(torch.randn(1, 3, 32, 32)))
