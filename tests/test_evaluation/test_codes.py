from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmbeitv2.evaluation.codes import codes_per_image, label_information, neighbor_agreement, purity, stability
from mmbeitv2.evaluation.patch_labels import segment_labels

rng = np.random.default_rng(0)


def entropy(values: list) -> float:
    return -sum(count / len(values) * math.log(count / len(values)) for count in Counter(values).values())


def test_information_is_the_fall_of_the_labels_entropy() -> None:
    codes, labels = rng.integers(0, 7, (40, 9)), rng.integers(0, 4, (40, 9))
    labels = np.where(rng.random((40, 9)) < 0.5, codes % 4, labels)
    labels[:3, :4] = -1
    kept = [
        (code, label) for code, label in zip(codes.ravel().tolist(), labels.ravel().tolist(), strict=True) if label >= 0
    ]
    code, label = ([pair[i] for pair in kept] for i in range(2))
    wanted = (entropy(code) + entropy(label) - entropy(kept)) / entropy(label)
    assert label_information(codes, labels).value == pytest.approx(wanted)
    best = sum(max(Counter(b for a, b in kept if a == each).values()) for each in set(code))
    assert purity(codes, labels).value == pytest.approx(best / len(kept))


def test_codes_that_tell_nothing_score_as_chance_and_codes_that_tell_all_score_one() -> None:
    labels = np.repeat(rng.integers(0, 5, 200)[:, None], 16, axis=1)
    noise = label_information(rng.integers(0, 64, (200, 16)), labels)
    assert noise.value == pytest.approx(noise.chance, abs=0.005)
    assert label_information(labels + 10, labels).value == pytest.approx(1)
    assert purity(labels + 10, labels).value == 1
    assert label_information(labels, np.full_like(labels, -1)).value == 0
    assert purity(labels, np.zeros_like(labels)).value == 1


def test_neighbors_and_stability_are_beside_what_independent_codes_reach() -> None:
    codes, other = rng.choice(4, (300, 6, 6), p=(0.7, 0.1, 0.1, 0.1)), rng.integers(0, 4, (300, 6, 6))
    for measure in (neighbor_agreement(codes), stability(codes, other)):
        assert measure.value == pytest.approx(measure.chance, abs=0.01)
    assert neighbor_agreement(codes).chance == pytest.approx(0.52, abs=0.02)
    assert neighbor_agreement(np.array([[[1, 1], [2, 3]]])).value == 0.25
    assert stability(codes, codes).value == 1
    assert codes_per_image(np.array([[[1, 1], [1, 1]], [[1, 2], [3, 3]]])) == 2


def test_a_patch_has_the_label_of_most_of_its_pixels(tmp_path: Path) -> None:
    labels = rng.integers(0, 3, (24, 32)).astype(np.uint8)
    labels[:6, 4:10] = 255
    labels[6:12, 4:10] = 7
    for folder, pixels in (('images/a', np.zeros((24, 32, 3), dtype=np.uint8)), ('labels/a', labels)):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / folder / '1.png')
    files = {'a/1.png': str(tmp_path / 'images/a/1.png')}
    found = segment_labels(files, tmp_path / 'labels', (4, 4), 'crop', [7])
    middle = labels[:, 4:28]
    for place, label in enumerate(found[0]):
        row, column = divmod(place, 4)
        patch = Counter(middle[6 * row : 6 * row + 6, 6 * column : 6 * column + 6].ravel().tolist())
        counts = {key: count for key, count in patch.items() if key not in (7, 255)}
        assert (label == -1) if not counts else counts[label] == max(counts.values())
    assert found[0, [0, 4]].tolist() == [-1, -1]
    stretched = segment_labels(files, tmp_path / 'labels', (1, 1), 'stretch', [0, 1, 7])
    assert stretched.tolist() == [[2]]
