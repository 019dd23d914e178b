"""Measures of codes: how much they tell about each other and about labels, and how stable they are when the image
changes.

Every measure comes with its chance level: its value for codes that occur equally often but carry no information.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Measure(NamedTuple):
    """A share in [0, 1], and the share that meaningless codes would reach."""

    value: float  #: the share
    chance: float  #: what it would be by chance


def codes_per_image(codes: np.ndarray) -> float:
    """Mean number of different codes in an image, of codes (n, h, w)."""
    return float(np.mean([len(np.unique(image)) for image in codes]))


def neighbor_agreement(codes: np.ndarray) -> Measure:
    """Share of neighboring patches, side by side or one above the other, that have the same code.

    Args:
        codes: (n, h, w).
    """
    pairs = [(codes[:, :, 1:], codes[:, :, :-1]), (codes[:, 1:], codes[:, :-1])]
    equal = np.concatenate([(first == second).ravel() for first, second in pairs])
    share = _shares(codes)
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
    return Measure(*(_information(_table(codes, each)) for each in (labels, _dealt_out(labels, seed))))


def purity(codes: np.ndarray, labels: np.ndarray, seed: int = 0) -> Measure:
    """Share of the patches whose label is the most frequent one of their code; arguments and chance as above."""
    tables = (_table(codes, each) for each in (labels, _dealt_out(labels, seed)))
    return Measure(*(float(table.max(axis=1).sum() / max(table.sum(), 1)) for table in tables))


def _shares(codes: np.ndarray) -> np.ndarray:
    counts = np.unique(codes, return_counts=True)[1]
    return counts / counts.sum()


def _dealt_out(labels: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(labels, axis=0)


def _table(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often each code occurs with each label, (codes, labels), patches without a label left out."""
    has_label = labels >= 0
    rows, code = np.unique(codes[has_label], return_inverse=True)
    columns, label = np.unique(labels[has_label], return_inverse=True)
    counts = np.bincount(code.ravel() * len(columns) + label.ravel(), minlength=len(rows) * len(columns))
    return counts.reshape(len(rows), len(columns))


def _information(table: np.ndarray) -> float:
    joint = table / max(table.sum(), 1)
    code, label = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    is_there = joint > 0
    information = (joint[is_there] * np.log(joint[is_there] / (code * label)[is_there])).sum()
    entropy = -(label[label > 0] * np.log(label[label > 0])).sum()
    return float(information / entropy) if entropy > 0 else 0.0
