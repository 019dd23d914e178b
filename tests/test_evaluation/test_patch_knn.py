from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, init_default_scope
from mmseg.datasets.transforms import PackSegInputs
from PIL import Image
from torch.utils.data import DataLoader, Subset

from mmbeitv2.datasets import FitImage, LoadImage
from mmbeitv2.errors import InputError
from mmbeitv2.evaluation import knn, patch_knn
from mmbeitv2.evaluation.knn import knn_votes
from mmbeitv2.evaluation.patch_knn import SegmentedImage, collect_bank, label_counts, score_by_patches
from mmbeitv2.segmentation import LoadSegLabels, SegFolder
from tests.conftest import tiny_pretraining

K = 3


@pytest.fixture
def model() -> torch.nn.Module:
    init_default_scope('mmpretrain')
    return MODELS.build(tiny_pretraining()).eval()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six images of 64x48: each half of one class, whose color it has."""
    rng = np.random.default_rng(0)
    colors = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]])
    (tmp_path / 'images').mkdir()
    (tmp_path / 'labels').mkdir()
    for i in range(6):
        labels = np.full((48, 64), i % K, np.uint8)
        labels[:, 32:] = (i + 1) % K
        pixels = colors[labels] + rng.integers(-25, 26, (48, 64, 3))
        labels[:3] = 255
        Image.fromarray(np.uint8(pixels)).save(tmp_path / 'images' / f'{i}.png')
        Image.fromarray(labels).save(tmp_path / 'labels' / f'{i}.png')
    (tmp_path / 'classes.txt').write_text('red\ngreen\nblue\n')
    return tmp_path


def loader(root: Path, batch_size: int = 2, **changes: object) -> DataLoader:
    pipeline = [LoadImage(), FitImage(32, 'stretch'), LoadSegLabels(), PackSegInputs()]
    dataset = SegFolder(str(root), **dict(classes='classes.txt', pipeline=pipeline) | changes)
    return DataLoader(dataset, batch_size=batch_size, collate_fn=pseudo_collate)


def segmented(labels: np.ndarray, grid: tuple[int, int], size: tuple[int, int], name: str = 'a') -> SegmentedImage:
    features = F.normalize(torch.randn(grid[0] * grid[1], 6), dim=1)
    return SegmentedImage(features, grid, size, torch.from_numpy(labels).long(), name)


@pytest.mark.parametrize('temperature', [0.1, 0.005])  # exp(1 / 0.005) is beyond float32
def test_votes_are_those_of_the_formula_in_whatever_blocks(monkeypatch: pytest.MonkeyPatch, temperature: float) -> None:
    bank, queries = (F.normalize(torch.randn(n, 5), dim=1) for n in (40, 17))
    queries[:2] = bank[:2]
    labels = torch.randint(0, K, (40,))
    labels[0] = K - 1
    for classes in (torch.rand(40, K), labels):
        shares = (F.one_hot(labels, K) if classes is labels else classes).double()
        expected = []
        for query in queries.double():
            similarity = [float(query @ row) for row in bank.double()]
            nearest = sorted(range(40), key=lambda i: -similarity[i])[:7]
            weights = [math.exp(similarity[i] / temperature) for i in nearest]
            expected.append(sum(w * shares[i] for w, i in zip(weights, nearest, strict=True)) / sum(weights))
        for chunk in (1, 5, 256):
            monkeypatch.setattr(knn, '_CHUNK', chunk)
            found = knn_votes(bank, classes, queries, 7, temperature)
            torch.testing.assert_close(found, torch.stack(expected).float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(('pixels', 'size'), [((48, 64), (24, 32)), ((37, 41), (22, 30))])
def test_pixels_are_counted_in_the_patch_that_they_lie_in(pixels: tuple[int, int], size: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).choice([0, 1, 2, 255], pixels).astype(np.uint8)
    counts = label_counts(segmented(labels, (3, 4), size), K, patch_size=8)
    expected = torch.zeros(12, K + 1, dtype=torch.int64)
    for y in range(pixels[0]):
        for x in range(pixels[1]):
            row, column = ((i + 0.5) * s / p // 8 for i, s, p in zip((y, x), size, pixels, strict=True))
            expected[int(row) * 4 + int(column), min(labels[y, x], K)] += 1
    assert torch.equal(counts, expected)


def test_the_bank_keeps_so_many_patches_of_a_class_and_does_not_depend_on_order_or_repetition() -> None:
    rng = np.random.default_rng(0)
    images = [segmented(rng.choice([0, 0, 0, 1, 2, 255], (32, 32)), (4, 4), (32, 32), str(i)) for i in range(9)]
    bank = collect_bank(images, K, 8, max_per_class=5, seed=1)
    assert torch.bincount(bank.shares.argmax(dim=1), minlength=K).max() == 5
    shuffled = collect_bank([*images[::-1], images[3]], K, 8, max_per_class=5, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(bank, shuffled, strict=True))
    other = collect_bank(images, K, 8, max_per_class=5, seed=2)
    assert not torch.equal(bank.features, other.features)
    # Without a limit, every patch of which half is labeled.
    whole = collect_bank(images, K, 8, max_per_class=999, seed=1)
    is_labeled = [(image.labels != 255).view(4, 8, 4, 8).float().mean(dim=(1, 3)) >= 0.5 for image in images]
    assert len(whole.keys) == sum(int(each.sum()) for each in is_labeled)
    assert torch.allclose(whole.shares.sum(dim=1), torch.ones(len(whole.keys)))


def test_colors_are_told_apart_and_scored_as_pixels(root: Path, model: torch.nn.Module) -> None:
    """Oracle: intersection over union, counted here, of predictions made patch by patch."""
    scores = score_by_patches(model, loader(root), loader(root, batch_size=3), num_neighbors=4)
    features, shares = [], []
    images = list(patch_knn._images(model, loader(root)))
    for image in images:
        counts = label_counts(image, K, 8)[:, :K].float()
        features.append(image.features)
        shares.append(counts / counts.sum(dim=1, keepdim=True))
    bank, known = torch.cat(features), torch.cat(shares)
    both, either = torch.zeros(K), torch.zeros(K)
    for image in images:
        weights, nearest = (image.features @ bank.T).topk(4)
        votes = ((weights / 0.02).softmax(dim=1)[..., None] * known[nearest]).sum(dim=1)
        maps = F.interpolate(votes.T.view(1, K, 4, 4), (48, 64), mode='bilinear', align_corners=False)[0]
        predicted, truth = maps.argmax(dim=0), image.labels
        for k in range(K):
            here = truth != 255
            both[k] += ((predicted == k) & (truth == k) & here).sum()
            either[k] += (((predicted == k) | (truth == k)) & here).sum()
    assert scores['mIoU'] == pytest.approx(100 * float((both / either).mean()), abs=0.01)
    assert scores['mIoU'] > 90


def test_images_of_different_sizes_are_padded_by_the_backbone_only(root: Path, model: torch.nn.Module) -> None:
    """Inputs of 48x64 and 30x40: the grid of the second covers more than the image."""
    pipeline = [LoadImage(), LoadSegLabels(), PackSegInputs()]
    for folder in ('images', 'labels'):
        with Image.open(root / folder / '1.png') as image:
            image.resize((40, 30), Image.Resampling.NEAREST).save(root / folder / '1.png')
    data = loader(root, pipeline=pipeline, batch_size=2)
    sizes = {image.size: image.grid for image in patch_knn._images(model, data)}
    assert sizes == {(48, 64): (6, 8), (30, 40): (4, 5)}
    assert score_by_patches(model, data, data, num_neighbors=4)['mIoU'] > 90


def test_processes_share_a_bank(root: Path, model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two processes reads half of the images, one of them twice; both get the bank of one process alone."""
    data = loader(root).dataset
    alone = collect_bank(patch_knn._images(model, loader(root)), K, 8, 6, seed=0)
    halves = [DataLoader(Subset(data, indices), 2, collate_fn=pseudo_collate) for indices in ([0, 2, 4, 0], [1, 3, 5])]
    for half in halves:
        half.dataset.data_root = str(root)  # type: ignore[attr-defined]
    sent: list = []
    monkeypatch.setattr(patch_knn, 'all_gather_object', lambda own: sent.append(own) or [own])
    for half in halves:
        collect_bank(patch_knn._images(model, half), K, 8, 6, seed=0)
    monkeypatch.setattr(patch_knn, 'all_gather_object', lambda own: sent)
    together = collect_bank(patch_knn._images(model, halves[1]), K, 8, 6, seed=0)
    assert torch.equal(together.keys, alone.keys)
    assert torch.allclose(together.features, alone.features, atol=1e-6)


def test_bad_labels_and_classes_are_named(root: Path, model: torch.nn.Module) -> None:
    with pytest.raises(InputError, match='must have the same classes, but have 3 and 2'):
        score_by_patches(model, loader(root), loader(root, classes=['red', 'green']))
    one = loader(root, classes=['red'])
    with pytest.raises(InputError, match='have a single class, so every score is 100'):
        score_by_patches(model, one, one)
    two = loader(root, classes=['red', 'green'])
    with pytest.raises(InputError, match=r"labels/1.png' has the label 2, but the dataset has 2 classes"):
        score_by_patches(model, two, two)
    for path in (root / 'labels').iterdir():
        Image.fromarray(np.full((48, 64), 255, np.uint8)).save(path)
    with pytest.raises(InputError, match='no patch of the bank has a label'):
        score_by_patches(model, loader(root), loader(root))
