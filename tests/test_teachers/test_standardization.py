from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmbeitv2.apis import load_model
from mmbeitv2.engine.resume_guard import fingerprints
from mmbeitv2.errors import InputError
from mmbeitv2.teachers import FrozenTeacher, Standardization
from tests.conftest import tiny_kmeans, tiny_pretraining, tiny_tokenizer
from tests.forked import spawn

METHODS = ('std', 'whiten')


class Pixels(FrozenTeacher):
    """A teacher whose features share a mean that is large beside what tells them apart."""

    def __init__(self, **settings: object) -> None:
        super().__init__(nn.Identity(), 12, 8, (0.0,) * 3, (1.0,) * 3, **settings)

    def patch_features(self, images: Tensor) -> Tensor:
        return F.pixel_unshuffle(images, 2) + 30  # (B, 12, 4, 4)


def correlated(count: int) -> Tensor:
    """Features (count, 5, 4) with unequal variances, one of them zero, and a mean 100 times as large."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[3.0, 1.0, 0.0, 0.0], [0.0, 0.5, 0.2, 0.0], [0.0, 0.0, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0]])
    return torch.randn(count, 5, 4, generator=generator) @ mixing + torch.tensor([100.0, -300.0, 0.0, 7.0])


def standardized(features: np.ndarray, measured: np.ndarray, method: str) -> np.ndarray:
    """The formula, in float64."""
    covariance = np.cov(measured.reshape(-1, measured.shape[-1]).T, bias=True)
    if method == 'std':
        covariance = np.diag(np.diag(covariance))
    variances, directions = np.linalg.eigh(covariance)
    inverse_root = directions / np.sqrt(variances + 1e-3 * variances.mean()) @ directions.T
    return (features - measured.mean(axis=(0, 1))) @ inverse_root


@pytest.mark.parametrize('method', METHODS)
def test_the_first_batches_are_measured_and_later_ones_are_not(method: str) -> None:
    module, features = Standardization(4, method, num_batches=3), correlated(100)
    assert torch.equal(module.eval()(features), features)  # nothing is measured yet
    module.train()
    for first, last in ((0, 7), (7, 60), (60, 90), (90, 100)):  # the last one is one too many
        found = module(features[first:last])
        measured = features[: min(last, 90)].double().numpy()
        expected = standardized(features[first:last].double().numpy(), measured, method)
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=2e-3)
    if method == 'whiten':
        done = module.eval()(features[:90]).double().flatten(0, 1)
        varying = np.linalg.eigvalsh(np.cov(done.T.numpy()))[1:]
        assert 0.3 < varying.min() < varying.max() < 1.05  # before: from 0.01 to 10


def test_the_shared_mean_no_longer_makes_all_patches_alike() -> None:
    images = torch.rand(32, 3, 8, 8)
    for standardize, lowest, highest in ((None, 0.99, 1.0), ('std', -0.05, 0.05), ('whiten', -0.05, 0.05)):
        features = F.normalize(Pixels(standardize=standardize).train()(images, (4, 4)).flatten(0, 1), dim=-1)
        assert lowest < (features @ features.T).mean() < highest


def _rank_main(rank: int, folder: str) -> None:
    for method in METHODS:
        module = Standardization(4, method, num_batches=2).train()
        for batch in correlated(60).split(20):
            module(batch[:4] if rank else batch[4:])  # 4 and 16 images
        torch.save(module.state_dict(), f'{folder}/{method}{rank}.pt')


def test_two_processes_measure_what_one_does(tmp_path: Path) -> None:
    spawn(_rank_main, str(tmp_path))
    for method in METHODS:
        alone = Standardization(4, method, num_batches=2).train()
        for batch in correlated(60).split(20):
            alone(batch)
        first, second = (torch.load(tmp_path / f'{method}{rank}.pt') for rank in range(2))
        for name, value in alone.state_dict().items():
            assert torch.equal(first[name], second[name])
            torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-3)


def tokenizer(kind: str, standardize: str | None = 'whiten') -> dict:
    teacher = dict(type=Pixels, standardize=standardize, standardize_batches=3)
    if kind == 'kmeans':
        return tiny_kmeans(teacher=teacher)
    return tiny_tokenizer(teacher=teacher, target_dims=None)


def step(model: nn.Module, images: Tensor) -> Tensor:
    return model.train()(images, mode='loss')['loss_reconstruction'].detach()


@pytest.mark.parametrize('kind', ['kmeans', 'vqkd'])
def test_a_tokenizer_continues_exactly_from_its_state(kind: str) -> None:
    images = torch.rand(5, 8, 3, 32, 32) * 2 - 1
    model, resumed = (MODELS.build(tokenizer(kind)) for _ in range(2))
    losses = []
    for number, batch in enumerate(images):
        losses.append(step(model, batch))
        if number == 1:  # in the middle of the measurement
            saved = {key: value.clone() for key, value in model.state_dict().items()}
    step(resumed, images[4])  # what it has measured itself is replaced
    resumed.load_state_dict(saved)
    assert [step(resumed, batch) for batch in images[2:]] == losses[2:]
    assert model.state_dict().keys() == resumed.state_dict().keys()
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in model.state_dict().items())
    assert model.teacher.standardization.batches_seen == 3
    without = MODELS.build(tokenizer(kind, standardize=None))
    assert model.state_dict().keys() - without.state_dict().keys() == {
        f'teacher.standardization.{name}' for name in ('count', 'mean', 'scatter', 'scale', 'batches_seen')
    }


@pytest.mark.parametrize('kind', ['kmeans', 'vqkd'])
def test_pretraining_takes_the_statistics_of_the_tokenizer_and_knows_them(kind: str, tmp_path: Path) -> None:
    trained = MODELS.build(tokenizer(kind))
    images = torch.rand(8, 3, 32, 32) * 2 - 1
    step(trained, images)
    torch.save(dict(state_dict=trained.state_dict()), tmp_path / 'tokenizer.pth')
    settings = tokenizer(kind) | dict(
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=str(tmp_path / 'tokenizer.pth'))
    )
    model = MODELS.build(tiny_pretraining(tokenizer=settings))
    model.init_weights()
    recorded, codes = fingerprints(model)['tokenizer'], trained.eval().tokenize(images)
    assert torch.equal(model.train().tokenizer.call('tokenize', images), codes)
    assert fingerprints(model)['tokenizer'] == recorded  # nothing is measured in pretraining
    model.tokenizer.module.teacher.standardization.mean.add_(1)
    assert fingerprints(model)['tokenizer'] != recorded
    (tmp_path / 'tokenizer.py').write_text(f'model = {tokenizer(kind) | dict(teacher=None, target_dims=12)!r}')
    if kind == 'vqkd':  # whose teacher is not needed for codes
        alone = load_model(str(tmp_path / 'tokenizer.py'), str(tmp_path / 'tokenizer.pth'), part='tokenizer')
        assert torch.equal(alone.tokenize(images), codes)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(InputError, match="standardize='zca' is unknown. Choose one of std, whiten"):
        Pixels(standardize='zca')
    with pytest.raises(InputError, match='standardize_batches=0 must be at least 1'):
        Pixels(standardize='std', standardize_batches=0)
    state = MODELS.build(tokenizer('kmeans')).state_dict()
    for other in (None, 'std'):
        with pytest.raises(InputError, match='normalization, layer or standardize'):
            MODELS.build(tokenizer('kmeans', other)).load_state_dict(state)
