"""k nearest neighbors and a linear probe of the frozen features of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmbeitv2.datasets import image_files
from mmbeitv2.datasets.resizing import Fit, fit_image
from mmbeitv2.errors import InputError
from mmbeitv2.evaluation.knn import knn_votes
from mmbeitv2.inference.channels import Channels, channels_of, image_extensions
from mmbeitv2.inference.config import read_config
from mmbeitv2.inference.loading import load_model
from mmbeitv2.inference.visual_tokenizer import to_tensor

WEIGHT_DECAYS = (1e-5, 1e-4, 1e-3, 1e-2)


class LabeledImages(Dataset):
    """Images of class folders, as a model's pipeline loads them: (C, H, W), and the label."""

    def __init__(self, root: Path, size: tuple[int, int], fit: Fit, channels: Channels | None = None) -> None:
        self.size, self.fit, self.channels = size, fit, channels
        files = image_files(root, image_extensions(channels))
        self.places = list(files.values())
        self.classes, self.labels = classes_from_folders(root, files)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self.places[index]
        loaded = to_tensor(path).flip(0) if self.channels is None else self.channels.read(path)  # BGR
        return fit_image(loaded, self.size, self.fit), int(self.labels[index])


def classes_from_folders(root: Path, paths: Sequence[str] | dict[str, str]) -> tuple[list[str], np.ndarray]:
    """Names of the classes, sorted, and the label (n,) of each image, from the folders directly below ``root``.

    Raises:
        InputError: if an image lies in none of them, or there is only one.
    """
    for path in paths:
        if len(Path(path).parts) == 1:
            raise InputError(
                f'image {str(root / path)!r} is not in a class folder. Pass a folder that holds one folder of images '
                'for each class, and no other images.'
            )
    names, labels = np.unique([Path(path).parts[0] for path in paths], return_inverse=True)
    if len(names) < 2:
        raise InputError(f'{str(root)!r} has only one class folder, {str(names[0])!r}. Add at least a second one.')
    return names.tolist(), labels


@torch.no_grad()
def cls_features(model: Any, images: LabeledImages, device: str, num_workers: int) -> tuple[Tensor, Tensor]:
    """Unit CLS tokens (n, C) and labels (n,)."""
    loader = DataLoader(images, batch_size=128, num_workers=num_workers)
    features = [model.cls_features(pixels.to(device)).float() for pixels, _ in tqdm(loader, unit='batch')]
    return torch.cat(features), torch.from_numpy(images.labels).to(device)


def linear_probe(bank: np.ndarray, labels: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> float:
    """Top-1 in percent of :func:`fit_linear_probe` on queries (m, C) with labels (m,)."""
    probe, _ = fit_linear_probe(bank, labels)
    return 100 * float(probe.score(queries, truth))


def fit_linear_probe(
    bank: np.ndarray, labels: np.ndarray, weight_decays: Sequence[float] = WEIGHT_DECAYS, max_iter: int = 200
) -> tuple[Pipeline, float]:
    """Multinomial logistic regression on scaled features.

    The loss is the mean cross-entropy plus the weight decay times the squared weights; the weight decay is chosen on a
    fifth of the bank.

    Args:
        bank: features (n, C).
        labels: (n,).
        weight_decays: to choose from.
        max_iter: iterations of the solver.

    Returns:
        scikit-learn's pipeline of scaler and classifier, and the best top-1 on the held-out fifth, in percent.
    """
    scaler = StandardScaler().fit(bank)
    scaled, held_out = scaler.transform(bank), np.arange(len(bank)) % 5 == 0

    def fit(features: np.ndarray, known: np.ndarray, weight_decay: float) -> LogisticRegression:
        # scikit-learn's loss is half the squared weights plus C times the sum of the cross-entropies.
        strength = 1 / (2 * weight_decay * len(features))
        return LogisticRegression(C=strength, max_iter=max_iter).fit(features, known)

    scores = [
        fit(scaled[~held_out], labels[~held_out], decay).score(scaled[held_out], labels[held_out])
        for decay in weight_decays
    ]
    best = weight_decays[int(np.argmax(scores))]
    return make_pipeline(scaler, fit(scaled, labels, best)), 100 * max(scores)


def probe_features(
    config: str,
    checkpoint: str,
    bank: Path,
    query: Path,
    num_neighbors: int = 20,
    fit: Fit = 'crop',
    device: str | None = None,
    num_workers: int = 2,
    cfg_options: Sequence[str] | dict | None = None,
) -> dict[str, float]:
    """``knn_top1`` and ``linear_top1`` of a backbone in percent; the arguments are options of tools/probe_features.py.

    Raises:
        InputError: if the config is not of a pretraining, or the two folders have not the same classes.
    """
    cfg = read_config(config, cfg_options)
    place = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    cfg.model.get('tokenizer', {}).pop('init_cfg', None)  # not asked here
    model = load_model(cfg, checkpoint, device=place)
    if not hasattr(model, 'cls_features'):
        raise InputError(f'config {config!r} is not of a pretraining. Pass the config that the checkpoint is of.')
    (h, w), side, channels = model.backbone.grid_size, model.backbone.patch_size, channels_of(cfg)
    bank_images, query_images = (LabeledImages(root, (h * side, w * side), fit, channels) for root in (bank, query))
    if bank_images.classes != query_images.classes:
        raise InputError(f'{str(bank)!r} and {str(query)!r} must have the same class folders')
    features, labels = cls_features(model, bank_images, place, num_workers)
    queries, truth = cls_features(model, query_images, place, num_workers)
    predicted = knn_votes(features, labels, queries, num_neighbors, temperature=0.07).argmax(dim=1)
    return {
        'knn_top1': 100 * float((predicted == truth).float().mean()),
        'linear_top1': linear_probe(*(each.cpu().numpy() for each in (features, labels, queries, truth))),
    }


def require_layer(backbone: Any, layer: int) -> int:
    """The number of a block of a backbone, counted from 0; negative ones count from the last. Refuses others."""
    depth = len(getattr(backbone, 'blocks', ()))
    if not -depth <= layer < depth:
        raise InputError(f'layer {layer} does not exist: the backbone has {depth} blocks, counted from 0')
    return layer % depth
