from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmbeitv2.evaluation.knn import knn_votes
from mmbeitv2.evaluation.probing import WEIGHT_DECAYS, linear_probe
from tests.conftest import refused, run_tool


@pytest.fixture
def command(tmp_path: Path, pretrained: tuple[str, str]) -> list[str]:
    """The tool with a tiny pretrained model, and images of two classes that differ in brightness."""
    rng = np.random.default_rng(0)
    for split in ('bank', 'query'):
        for name, value in (('dark', 50), ('bright', 190)):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(10):
                cv2.imwrite(str(folder / f'{i}.png'), np.uint8(value + rng.integers(-40, 40, (36, 36, 3))))
    options = ['--bank', str(tmp_path / 'bank'), '--query', str(tmp_path / 'query'), '--num-workers', '0']
    return ['probe_features', *pretrained, *options, '--device', 'cpu']


def test_features_of_a_pretrained_backbone_are_probed(tmp_path: Path, command: list[str]) -> None:
    run_tool(*command, '--json', str(tmp_path / 'probe.json'))
    assert json.loads((tmp_path / 'probe.json').read_text()) == {'knn_top1': 100, 'linear_top1': 100}


def test_folders_of_other_classes_are_refused(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'query/dark').rename(tmp_path / 'query/other')
    assert 'the same class folders' in refused(capsys, *command)


@pytest.mark.parametrize('temperature', [0.1, 0.005])  # exp(1 / 0.005) is beyond float32
def test_votes_are_those_of_the_formula(temperature: float) -> None:
    bank, queries = (F.normalize(torch.randn(n, 5), dim=1) for n in (40, 300))  # more queries than one block
    labels = torch.arange(40) % 3
    expected = []
    for query in queries.double():
        similarity = [float(query @ row) for row in bank.double()]
        nearest = sorted(range(40), key=lambda i: -similarity[i])[:7]
        weights = [math.exp(similarity[i] / temperature) for i in nearest]
        votes = [sum(w for w, i in zip(weights, nearest, strict=True) if labels[i] == label) for label in range(3)]
        expected.append([vote / sum(weights) for vote in votes])
    found = knn_votes(bank, labels, queries, 7, temperature)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-4)


def test_the_linear_probe_is_logistic_regression_with_the_best_weight_decay() -> None:
    """Oracle: the loss written out, minimized in float64; features of three classes, which overlap."""
    labels = torch.arange(150) % 3
    features = torch.randn(150, 4, dtype=torch.float64) * torch.tensor([1, 5, 0.2, 1]) + labels[:, None] % 2 * 1.5
    bank, queries = features[:100], features[100:]
    mean, std = bank.mean(0), bank.std(0, correction=0)
    bank, queries = (bank - mean) / std, (queries - mean) / std

    def top1(train: torch.Tensor, truth: torch.Tensor, decay: float, test: torch.Tensor, wanted: torch.Tensor) -> float:
        layer = torch.nn.Linear(4, 3, dtype=torch.float64)
        optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=500, line_search_fn='strong_wolfe')

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(layer(train), truth) + decay * layer.weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        return float((layer(test).argmax(dim=1) == wanted).double().mean())

    held_out = torch.arange(100) % 5 == 0
    known = labels[:100]
    scores = [
        top1(bank[~held_out], known[~held_out], decay, bank[held_out], known[held_out]) for decay in WEIGHT_DECAYS
    ]
    best = WEIGHT_DECAYS[scores.index(max(scores))]
    expected = 100 * top1(bank, known, best, queries, labels[100:])
    found = linear_probe(*(each.numpy() for each in (features[:100], known, features[100:], labels[100:])))
    assert found == pytest.approx(expected, abs=2.1)  # one query of fifty may lie on the border
    assert 40 < found < 100
