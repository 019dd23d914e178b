from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS

from mmbeitv2.errors import InputError
from mmbeitv2.layers import fingerprint
from mmbeitv2.tokenizers import KMeansTokenizer, SphericalKMeans
from tests.conftest import TEACHER, tiny_kmeans


def clustered(generator: np.random.Generator, count: int, num_clusters: int, width: int) -> np.ndarray:
    """Unit vectors around directions of which some are much commoner than others."""
    centres = generator.standard_normal((num_clusters, width))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    share = np.arange(1, num_clusters + 1) / np.arange(1, num_clusters + 1).sum()
    points = centres[generator.choice(num_clusters, count, p=share)] + 0.12 * generator.standard_normal((count, width))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def mean_cosine(points: np.ndarray, means: np.ndarray) -> float:
    return float((points @ means.T).max(axis=1).mean())


def lloyd(points: np.ndarray, means: np.ndarray) -> float:
    """Mean cosine of full-batch spherical k-means from these means on."""
    for _ in range(30):
        members = (points @ means.T).argmax(axis=1)
        means = np.stack([points[members == code].sum(axis=0) for code in range(len(means))])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    return mean_cosine(points, means)


@pytest.mark.parametrize('decay', [0.99, 1.0])
def test_one_pass_by_mini_batches_comes_near_full_batch_kmeans(decay: float) -> None:
    rng = np.random.default_rng(0)
    points = clustered(rng, 12_000, 30, 24)
    best = max(lloyd(points, rng.permutation(points)[:60]) for _ in range(3))
    quantizer = SphericalKMeans(num_codes=60, code_dim=24, decay=decay, dead_code_steps=20)
    scores = []
    for batch in torch.from_numpy(points).float().split(200):
        quantizer(batch.T[None, :, :, None])  # (1, D, n, 1)
        scores.append(mean_cosine(points, quantizer.embedding.weight.double().numpy()))
    assert scores[-1] > 0.98 * best
    assert scores[-1] > scores[0] + 0.02  # by k-means of the first batch


@pytest.mark.parametrize('decay', [1.0, 0.5])
def test_a_code_is_the_direction_of_the_sum_of_its_members_where_new_ones_come_earlier_count_less(decay: float) -> None:
    quantizer = SphericalKMeans(num_codes=5, code_dim=4, decay=decay, kmeans_init=False)
    codebook, sums = quantizer.embedding.weight.double().clone(), torch.zeros(5, 4, dtype=torch.float64)
    for _ in range(6):
        z = torch.randn(2, 4, 3, 1)
        points = F.normalize(z.double().flatten(2).transpose(1, 2).flatten(0, 1), dim=-1)
        members = (points @ codebook.T).argmax(dim=1)
        for code in members.unique():  # the others neither move nor forget
            sums[code] = decay * sums[code] + points[members == code].sum(dim=0)
            codebook[code] = F.normalize(sums[code], dim=-1)
        quantizer(z)
    torch.testing.assert_close(quantizer.embedding.weight.double(), codebook, rtol=0, atol=1e-5)


def test_an_expired_code_starts_from_the_feature_that_replaced_it() -> None:
    quantizer = SphericalKMeans(num_codes=3, code_dim=2, decay=1.0, kmeans_init=False, dead_code_steps=1)
    quantizer.embedding.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]]))
    quantizer.sum_length.fill_(1000)
    quantizer(torch.tensor([0.8, 0.6]).view(1, 2, 1, 1))
    torch.testing.assert_close(quantizer.embedding.weight[1:], torch.tensor([[0.8, 0.6]] * 2))
    assert quantizer.sum_length[1:].tolist() == [1, 1]


def build(**changes: object) -> KMeansTokenizer:
    return MODELS.build(tiny_kmeans(teacher=TEACHER) | changes)


def test_codes_are_the_clusters_nearest_to_the_teachers_features() -> None:
    model = build().eval()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    network = model.teacher.module
    target = network.forward_features(images)[:, 1:].transpose(1, 2).reshape(2, -1, 2, 2)  # its mean and std are 0.5
    target = F.normalize(F.interpolate(target, size=(4, 4), mode='bilinear').flatten(2).transpose(1, 2), dim=-1)
    cosine = target @ model.quantize.embedding.weight.T
    assert torch.equal(model(images), cosine.argmax(-1))
    assert torch.equal(model.lookup(model(images)), model.quantize.embedding.weight[cosine.argmax(-1)])
    torch.testing.assert_close(model(images, mode='loss')['loss_reconstruction'], 1 - cosine.amax(-1).mean())
    samples = model(images, mode='predict')
    torch.testing.assert_close(samples[1].reconstruction_loss, 1 - cosine[1].amax(-1).mean().view(1))


def test_a_step_updates_the_codebook_and_computes_no_gradient() -> None:
    model = build().train()
    before = model.quantize.embedding.weight.clone()
    outputs = model.train_step({'inputs': torch.rand(4, 3, 32, 32) * 2 - 1}, optim_wrapper=None)
    assert not outputs['loss'].requires_grad
    assert not torch.equal(model.quantize.embedding.weight, before)
    assert not list(model.parameters())
    assert not [key for key in model.state_dict() if key.startswith('teacher.')]


def test_the_codebook_of_another_teacher_is_refused() -> None:
    torch.manual_seed(0)
    state = build().state_dict()
    torch.manual_seed(0)
    build().load_state_dict(state)
    for other in (TEACHER | dict(img_size=64), TEACHER):  # the second with other weights
        with pytest.raises(InputError, match='made with another teacher'):
            build(teacher=other).load_state_dict(state)


def test_the_codebook_of_a_checkpoint_of_version_1_is_taken() -> None:
    tokenizer = build()
    teacher = tokenizer.teacher
    text = f"('TimmTeacher', {teacher.img_size}, -1) {fingerprint(teacher.module)}"  # without mean and std
    former = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'big', signed=True)
    assert former != teacher.fingerprint()
    tokenizer.load_state_dict(tokenizer.state_dict() | dict(teacher_fingerprint=torch.tensor(former)))
