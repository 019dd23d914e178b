from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mmbeitv2.tokenizers import NormEMAVectorQuantizer, SphericalKMeans
from mmbeitv2.tokenizers.quantizer import cosine_kmeans
from tests.forked import spawn


def one_hot_step(z: torch.Tensor, codebook: torch.Tensor, decay: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The paper's update written out with a one-hot matrix: codes, and the codebook after the step."""
    z = F.normalize(z.flatten(2).transpose(1, 2).reshape(-1, z.shape[1]), dim=1)
    codes = torch.cdist(z, codebook).argmin(dim=1)
    one_hot = F.one_hot(codes, len(codebook)).to(z)
    means = F.normalize((one_hot.T @ z) / one_hot.sum(0).clamp(min=1)[:, None], dim=1)
    means = torch.where(one_hot.sum(0)[:, None] > 0, means, codebook)
    return codes, F.normalize(decay * codebook + (1 - decay) * means, dim=1)


@pytest.mark.parametrize('chunk', [5, 12])
def test_step_equals_the_one_hot_formula(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmbeitv2.tokenizers.quantizer._CHUNK', chunk)
    quantizer = NormEMAVectorQuantizer(num_codes=12, code_dim=4, decay=0.9, kmeans_init=False)
    before = quantizer.embedding.weight.clone()
    z = torch.randn(3, 4, 2, 5)
    quantized, loss, codes = quantizer(z)
    expected_codes, expected_codebook = one_hot_step(z, before, decay=0.9)
    assert torch.equal(codes, expected_codes.view(3, 10))
    torch.testing.assert_close(quantizer.embedding.weight, expected_codebook)
    expected = before[expected_codes].view(3, 2, 5, 4).permute(0, 3, 1, 2)
    torch.testing.assert_close(quantized, expected)
    torch.testing.assert_close(loss, F.mse_loss(F.normalize(z, dim=1), expected))
    counts = torch.bincount(expected_codes, minlength=12).float()
    torch.testing.assert_close(quantizer.cluster_size, 0.1 * counts)


def test_gradient_passes_straight_through_the_normalized_features() -> None:
    quantizer = NormEMAVectorQuantizer(num_codes=12, code_dim=4, kmeans_init=False)
    z = torch.randn(2, 4, 3, 3, requires_grad=True)
    weight = torch.randn(2, 4, 3, 3)
    (quantizer(z)[0] * weight).sum().backward()
    reference = z.detach().clone().requires_grad_()
    (F.normalize(reference, dim=1) * weight).sum().backward()
    torch.testing.assert_close(z.grad, reference.grad)


def test_codebook_is_no_parameter_and_rests_in_eval_mode() -> None:
    quantizer = NormEMAVectorQuantizer(num_codes=12, code_dim=4, kmeans_init=False).eval()
    assert not list(quantizer.parameters())
    before = {key: value.clone() for key, value in quantizer.state_dict().items()}
    quantizer(torch.randn(2, 4, 3, 3))
    assert all(torch.equal(value, before[key]) for key, value in quantizer.state_dict().items())


def test_codebook_stays_in_float32_under_autocast() -> None:
    quantizer = NormEMAVectorQuantizer(num_codes=12, code_dim=4, kmeans_init=False)
    z = torch.randn(2, 4, 3, 3)
    expected, _ = one_hot_step(z.bfloat16().float(), quantizer.embedding.weight.clone(), decay=0.99)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        quantized, loss, codes = quantizer(z.bfloat16())
    assert quantized.dtype == loss.dtype == quantizer.embedding.weight.dtype == torch.float32
    assert torch.equal(codes.flatten(), expected)


def test_a_checkpoint_of_version_1_loads() -> None:
    state = NormEMAVectorQuantizer(num_codes=6, code_dim=4, dead_code_steps=9).state_dict()
    del state['steps_unused']
    quantizer = NormEMAVectorQuantizer(num_codes=6, code_dim=4, dead_code_steps=9)
    quantizer.load_state_dict(state | dict(idle_steps=torch.arange(6)))
    assert quantizer.steps_unused.tolist() == [0, 1, 2, 3, 4, 5]


def test_kmeans_finds_separate_directions() -> None:
    centers = F.normalize(torch.eye(6)[:, :6] + 0.01, dim=1)
    samples = F.normalize(centers.repeat(50, 1) + 0.02 * torch.randn(300, 6), dim=1)
    best = max((cosine_kmeans(samples, 6) @ centers.T).amax(dim=0).min() for _ in range(20))
    assert best > 0.99


def test_first_training_batch_initializes_the_codebook_once() -> None:
    quantizer = NormEMAVectorQuantizer(num_codes=8, code_dim=4)
    z = torch.randn(4, 4, 4, 4)
    quantizer.eval()(z)
    assert quantizer.embedding.initted.item() == 0
    before = quantizer.embedding.weight.clone()
    quantizer.train()(z)
    assert quantizer.embedding.initted.item() == 1
    assert not torch.allclose(before, quantizer.embedding.weight, atol=0.1)
    resumed = NormEMAVectorQuantizer(num_codes=8, code_dim=4)
    resumed.load_state_dict(quantizer.state_dict())
    _, expected = one_hot_step(z, quantizer.embedding.weight.clone(), decay=0.99)
    resumed(z)
    torch.testing.assert_close(resumed.embedding.weight, expected)


def test_too_few_patches_for_kmeans_say_what_to_do() -> None:
    with pytest.raises(ValueError, match='8 codes from the 4 patches of the first batch. Use a larger batch'):
        NormEMAVectorQuantizer(num_codes=8, code_dim=4)(torch.randn(1, 4, 2, 2))


def test_unused_codes_are_replaced_by_features_after_the_set_number_of_steps() -> None:
    quantizer, paper = (
        NormEMAVectorQuantizer(num_codes=64, code_dim=4, kmeans_init=False, **settings)
        for settings in (dict(dead_code_steps=3), {})
    )
    z = F.normalize(torch.randn(1, 4, 1, 1) + 0.05 * torch.randn(2, 4, 6, 6), dim=1)  # a cone: most codes are dead
    features = z.flatten(2).transpose(1, 2).reshape(-1, 4)
    far = []
    for _ in range(3):
        for each in (quantizer, paper):
            each(z)
        far.append([int(((q.embedding.weight @ features.T).amax(1) < 0.9).sum()) for q in (quantizer, paper)])
    assert min(far[1]) > 30
    assert far[2][0] == 0 < 30 < far[2][1]


KINDS = {
    'paper': (NormEMAVectorQuantizer, {}),
    'random': (NormEMAVectorQuantizer, dict(kmeans_init=False)),  # each process draws its own codebook
    'kmeans': (SphericalKMeans, {}),
}


def _steps_main(rank: int, world_size: int, folder: str) -> None:
    torch.manual_seed(rank)
    for name, (kind, settings) in KINDS.items():
        quantizer = kind(num_codes=24, code_dim=4, decay=0.9, dead_code_steps=1, **settings)
        for batch in torch.load(f'{folder}/batches.pt'):
            quantizer(batch[rank::world_size])
        torch.save(quantizer.embedding.weight, f'{folder}/{name}_{world_size}_{rank}.pt')


def test_two_ranks_with_half_the_batch_equal_one_with_the_whole(tmp_path: Path) -> None:
    torch.save([torch.randn(4, 4, 3, 3) for _ in range(10)], tmp_path / 'batches.pt')
    spawn(_steps_main, 2, str(tmp_path))
    _steps_main(0, 1, str(tmp_path))
    for kind in KINDS:
        whole, *halves = (torch.load(tmp_path / f'{kind}_{name}.pt') for name in ('1_0', '2_0', '2_1'))
        assert torch.equal(*halves)
        torch.testing.assert_close(halves[0], whole, rtol=0, atol=1e-5)
