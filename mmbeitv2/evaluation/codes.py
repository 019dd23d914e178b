"""Measures of codes: how much they tell about each other and about labels, and how stable they are when the image
changes.

Every measure comes with its chance level: its value for codes that occur equally often but carry no information.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.metrics import homogeneity_score
from sklearn.metrics.cluster import contingency_matrix


class Measure(NamedTuple):
    """A share in [0, 1], and the share that meaningless codes would reach."""

    value: float  #: the share
    chance: float  #: what it would be by chance


def codes_per_image(codes: np.ndarray) -> float:
    """Mean number of different codes in an image, of codes (n, h, w)."""
    return float(np.mean([len(np.unique(image)) for image in codes]))


def neighbor_agreement(codes: np.ndarray) -> Measure:
    """Share of neighboring patches of (n, h, w), side by side or one above the other, that have the same code."""
    pairs = [(codes[:, :, 1:], codes[:, :, :-1]), (codes[:, 1:], codes[:, :-1])]
    equal = np.concatenate([(first == second).ravel() for first, second in pairs])
    share = np.bincount(codes.ravel()) / codes.size
    return Measure(float(equal.mean()) if equal.size else 0.0, float(share @ share))


def stability(codes: np.ndarray, changed: np.ndarray) -> Measure:
    """Share of the codes that stay the same in a changed image; chance is that of two independent draws.

    Args:
        codes: of any shape.
        changed: codes of the same patches in the changed images.
    """
    size = int(max(codes.max(), changed.max())) + 1
    first, second = (np.bincount(each.ravel(), minlength=size) / each.size for each in (codes, changed))
    return Measure(float((codes == changed).mean()), float(first @ second))


def label_information(codes: np.ndarray, labels: np.ndarray, seed: int = 0) -> Measure:
    """Mutual information of code and label, as a share of the labels' entropy: 1 if the code determines the label.

    The chance level is the information of the codes about the labels of another, random image at the same positions. It
    is above 0 because with many codes and few patches some information appears by accident, and because segments have
    typical positions.

    Args:
        codes: (n, N), the codes of each image.
        labels: (n, N), those of its patches; below 0 where a patch has none.
        seed: of the permutation of the images.
    """

    def share(label: np.ndarray, code: np.ndarray) -> float:
        return float(homogeneity_score(label, code)) if len(np.unique(label)) > 1 else 0.0

    return Measure(*(share(*pair) for pair in _pairs(codes, labels, seed)))


def purity(codes: np.ndarray, labels: np.ndarray, seed: int = 0) -> Measure:
    """Share of the patches whose label is the most frequent one of their code; arguments and chance as above."""

    def share(label: np.ndarray, code: np.ndarray) -> float:
        counts = contingency_matrix(label, code, sparse=True)  # (labels, codes)
        return float(counts.max(axis=0).sum() / max(len(label), 1))

    return Measure(*(share(*pair) for pair in _pairs(codes, labels, seed)))


def _pairs(codes: np.ndarray, labels: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels and codes of the labeled patches; then the same with the labels dealt out to other images."""
    dealt_out = np.random.default_rng(seed).permutation(labels, axis=0)
    return [(each[each >= 0], codes[each >= 0]) for each in (labels, dealt_out)]
