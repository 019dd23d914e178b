from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS

from mmbeitv2.errors import InputError
from tests.conftest import TEACHER, tiny_tokenizer, tiny_vit
from tests.forked import spawn


def build(**changes: object) -> torch.nn.Module:
    model = MODELS.build(tiny_tokenizer(**changes))
    model.init_weights()
    return model


def test_loss_is_one_minus_cosine_to_the_teacher_plus_commitment() -> None:
    model = build(teacher=TEACHER, target_dims=None).eval()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    losses = model(images, mode='loss')
    (features,) = model.encoder(images)
    projected = model.encode_task_layer(features.permute(0, 2, 3, 1))
    z = F.normalize(projected, dim=-1)
    codes = (z @ model.quantize.embedding.weight.T).argmax(-1)
    code_vectors = model.quantize.embedding.weight[codes]
    torch.testing.assert_close(losses['loss_commitment'], F.mse_loss(z, code_vectors))
    (decoded,) = model.decoder(code_vectors.permute(0, 3, 1, 2))
    rebuilt = model.decode_task_layer(decoded.flatten(2).transpose(1, 2))
    network = model.teacher.module
    normalized = ((images + 1) / 2 - 0.5) / 0.5  # this teacher's own mean and std
    target = network.forward_features(normalized)[:, 1:].transpose(1, 2).reshape(2, -1, 2, 2)
    target = F.interpolate(target, size=(4, 4), mode='bilinear').flatten(2).transpose(1, 2)
    distance = 1 - (F.normalize(rebuilt, dim=-1) * F.normalize(target, dim=-1)).sum(-1)
    torch.testing.assert_close(losses['loss_reconstruction'], distance.mean())
    assert torch.equal(model(images), codes.flatten(1))
    samples = model(images, mode='predict')
    torch.testing.assert_close(samples[1].reconstruction_loss, distance[1].mean().view(1))


def test_the_teacher_sees_the_chosen_channels_as_a_picture_and_the_encoder_sees_all() -> None:
    encoder = dict(tiny_tokenizer()['encoder'], in_channels=5)
    model = build(teacher=TEACHER, target_dims=None, encoder=encoder, teacher_channels=(4, 0, 2)).eval()
    seen: list[torch.Tensor] = []
    model.teacher.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images = torch.randn(2, 5, 32, 32) * 2  # beyond [-1, 1], as values beyond the range of a channel
    loss = model(images, mode='loss')['loss_reconstruction']
    torch.testing.assert_close(seen[0], ((images[:, [4, 0, 2]] + 1) / 2).clamp(0, 1))
    others = images.clone()
    others[:, 3] += 1  # which the teacher does not see
    assert model(others, mode='loss')['loss_reconstruction'] != loss
    assert torch.equal(seen[1], seen[0])


def test_every_parameter_gets_a_gradient_and_the_teacher_is_neither_parameter_nor_saved() -> None:
    model = build(teacher=TEACHER, target_dims=None).train()
    sum(model(torch.rand(4, 3, 32, 32) * 2 - 1, mode='loss').values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not [key for key in model.state_dict() if 'teacher' in key]
    assert not model.teacher.module.training
    teacher_ids = {id(parameter) for parameter in model.teacher.module.parameters()}
    assert not teacher_ids & {id(parameter) for parameter in model.parameters()}


@pytest.mark.parametrize('decoder', [tiny_vit(), tiny_vit(img_size=5, patch_size=1, in_channels=8)])
def test_a_decoder_that_does_not_fit_is_refused(decoder: dict) -> None:
    with pytest.raises(InputError, match=r'patch_size=1, in_channels=8 and img_size=\(4, 4\)'):
        build(decoder=decoder)


def test_the_step_is_one_graph_for_the_compiler() -> None:
    """No graph break: no shape that depends on data, no reading of a tensor by the host."""
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    models = [build(teacher=TEACHER, target_dims=None).train() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    models[1].teacher = models[0].teacher
    for model in models:  # k-means, at the first step
        torch.manual_seed(0)
        model(images, mode='loss')
    compiled = torch.compile(models[1], fullgraph=True, backend='eager')
    expected, found = models[0](images, mode='loss'), compiled(images, mode='loss')
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)
    assert torch.equal(models[0].quantize.embedding.weight, models[1].quantize.embedding.weight)


@pytest.mark.gpu
def test_the_step_never_waits_for_the_device() -> None:
    model = build(teacher=TEACHER, target_dims=None).cuda().train()
    images = torch.rand(4, 3, 32, 32, device='cuda') * 2 - 1

    def step() -> None:
        sum(model(images, mode='loss').values()).backward()

    step()  # k-means
    torch.cuda.set_sync_debug_mode('error')
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode('default')


def _train_main(rank: int, world_size: int, folder: str) -> None:
    """Ten steps of AdamW through mmengine's train_step; the codebook after each, and the last gradients."""
    torch.manual_seed(0)
    preprocessor = dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3)
    model = build(teacher=TEACHER, target_dims=None, data_preprocessor=preprocessor).train()
    quantizer, parameters = model.quantize, dict(model.named_parameters())
    if world_size > 1:
        model = MMDistributedDataParallel(model, broadcast_buffers=False)
    optim_wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-3))
    gradients = {}

    def keep(*_: object) -> None:
        gradients.update({name: parameter.grad.clone() for name, parameter in parameters.items()})

    optim_wrapper.optimizer.register_step_pre_hook(keep)
    codebooks = []
    for batch in torch.load(f'{folder}/batches.pt'):
        model.train_step({'inputs': batch[rank::world_size]}, optim_wrapper)  # as SeededSampler deals them out
        codebooks.append(quantizer.embedding.weight.clone())
    torch.save((codebooks, gradients), f'{folder}/{world_size}_{rank}.pt')


def test_two_ranks_with_half_the_batch_train_as_one_with_the_whole(tmp_path: Path) -> None:
    torch.save([torch.randint(0, 256, (4, 3, 32, 32)).float() for _ in range(10)], tmp_path / 'batches.pt')
    spawn(_train_main, 2, str(tmp_path))
    spawn(_train_main, 1, str(tmp_path), nprocs=1)
    (first, first_gradients), (second, _), (whole, gradients) = (
        torch.load(tmp_path / name) for name in ('2_0.pt', '2_1.pt', '1_0.pt')
    )
    for a, b, c in zip(first, second, whole, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c, rtol=0, atol=1e-5)
    assert (whole[-1] - whole[0]).abs().max() > 1e-2
    for name, gradient in gradients.items():
        torch.testing.assert_close(first_gradients[name], gradient, rtol=0, atol=1e-5, msg=name)
    assert max(gradient.abs().max() for gradient in gradients.values()) > 1e-2
