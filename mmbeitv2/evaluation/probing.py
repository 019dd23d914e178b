"""k nearest neighbors and a linear probe of frozen features, of images and of patches."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmbeitv2.datasets import FitImage, LoadImage, image_files
from mmbeitv2.errors import InputError
from mmbeitv2.evaluation.knn import knn_classify
from mmbeitv2.evaluation.patch_knn import score_by_patches
from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.fileio.outputs import require_json
from mmbeitv2.inference.channels import Channels, channels_of, image_extensions
from mmbeitv2.inference.config import read_config
from mmbeitv2.inference.loading import load_model
from mmbeitv2.inference.visual_tokenizer import fit_image, to_tensor
from mmbeitv2.pretraining.beitv2 import BEiTv2
from mmbeitv2.segmentation import LoadSegLabels, SegFolder, read_class_names

WEIGHT_DECAYS = (1e-5, 1e-4, 1e-3, 1e-2)


class LabeledImages(Dataset):
    """Images of class folders at the model's size, as its pipeline loads them: pixels (C, H, W), and the label.

    Args:
        root: holds a folder for each class, in which the images lie at any depth; or shards of such a folder.
        size: height and width of the model's input.
        fit: see :func:`mmbeitv2.datasets.resizing.fit_image`.
        channels: see :func:`channels_of`.

    Raises:
        InputError: if an image lies outside the class folders.
    """

    def __init__(
        self, root: Path, size: tuple[int, int], fit: Literal['crop', 'stretch'], channels: Channels | None = None
    ) -> None:
        self.size, self.fit, self.channels = size, fit, channels
        files = image_files(root, image_extensions(channels))
        self.places = list(files.values())
        flat = [path for path in files if len(Path(path).parts) == 1]
        if flat:
            raise InputError(
                f'image {str(root / flat[0])!r} is not in a class folder. Pass a folder that holds one folder of '
                'images for each class, and no other images.'
            )
        names = [Path(path).parts[0] for path in files]
        self.classes = sorted(set(names))
        self.labels = [self.classes.index(name) for name in names]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self.places[index]
        loaded = to_tensor(path).flip(0) if self.channels is None else self.channels.read(path)  # BGR
        return fit_image(loaded, self.size, self.fit), self.labels[index]


@torch.no_grad()
def extract(model: BEiTv2, images: LabeledImages, device: str, num_workers: int) -> tuple[Tensor, Tensor]:
    """Unit CLS tokens (n, C) and labels (n,)."""
    features, labels = [], []
    for pixels, label in tqdm(DataLoader(images, batch_size=128, num_workers=num_workers), unit='batch'):
        features.append(model.cls_features(pixels.to(device)).float())
        labels.append(label.to(device))
    return torch.cat(features), torch.cat(labels)


def linear_probe(bank: Tensor, labels: Tensor, queries: Tensor, truth: Tensor) -> float:
    """Top-1 in percent of the queries; the weight decay is chosen on a fifth of the bank."""
    mean, std = bank.mean(0), bank.std(0) + 1e-6
    bank, queries = (bank - mean) / std, (queries - mean) / std
    held_out = torch.arange(len(bank), device=bank.device) % 5 == 0
    scores = [
        _top1(_fit(bank[~held_out], labels[~held_out], decay), bank[held_out], labels[held_out])
        for decay in WEIGHT_DECAYS
    ]
    best = WEIGHT_DECAYS[scores.index(max(scores))]
    return _top1(_fit(bank, labels, best), queries, truth)


def _fit(features: Tensor, labels: Tensor, weight_decay: float) -> torch.nn.Linear:
    layer = torch.nn.Linear(features.shape[1], int(labels.max()) + 1, device=features.device)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn='strong_wolfe')

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(features), labels) + weight_decay * layer.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return layer


@torch.no_grad()
def _top1(layer: torch.nn.Linear, features: Tensor, labels: Tensor) -> float:
    return 100 * float((layer(features).argmax(dim=1) == labels).float().mean())


def probe_features(args: argparse.Namespace) -> None:
    """Scores a backbone; see ``tools/probe_features.py --help`` for ``args``.

    Raises:
        InputError: if the config is not of a pretraining, or the two folders have not the same classes.
    """
    if args.json is not None:
        require_json(args.json)
    model, device = _load(args)
    (h, w), side = model.backbone.grid_size, model.backbone.patch_size
    channels = channels_of(read_config(args.config, args.cfg_options))
    bank_images, query_images = (
        LabeledImages(root, (h * side, w * side), args.fit, channels) for root in (args.bank, args.query)
    )
    if bank_images.classes != query_images.classes or len(bank_images.classes) < 2:
        raise InputError(f'{str(args.bank)!r} and {str(args.query)!r} must have the same class folders, at least two')
    bank, labels = extract(model, bank_images, device, args.num_workers)
    queries, truth = extract(model, query_images, device, args.num_workers)
    predicted = knn_classify(bank, labels, queries, args.num_neighbors, temperature=0.07)
    result = {
        'knn_top1': 100 * float((predicted == truth).float().mean()),
        'linear_top1': linear_probe(bank, labels, queries, truth),
    }
    _report(result, args.json)


def probe_patches(args: argparse.Namespace) -> None:
    """Scores a backbone by segmentation; see ``tools/probe_patches.py --help`` for ``args``.

    Raises:
        InputError: if the config is not of a pretraining, it has no such layer, or images and labels do not fit.
    """
    from mmseg.datasets.transforms import PackSegInputs  # mmseg is needed for segmentation only

    if args.json is not None:
        require_json(args.json)
    names = read_class_names(args.classes)
    model = _load(args)[0]
    if args.layer is not None:
        if args.layer >= model.backbone.depth:
            raise InputError(f'--layer {args.layer}: the backbone has {model.backbone.depth} blocks, counted from 0')
        model.backbone.out_indices = (args.layer,)
    (h, w), side = model.backbone.grid_size, model.backbone.patch_size
    size = (h * side, w * side) if args.size is None else (args.size, args.size)
    channels = channels_of(read_config(args.config, args.cfg_options))
    load = LoadImage() if channels is None else channels.loader
    pipeline = [load, FitImage(size, 'stretch'), LoadSegLabels(num_classes=len(names)), PackSegInputs()]
    loaders: list[DataLoader] = []
    for images, labels in (args.bank, args.query):
        prefix = dict(img_path=str(images.absolute()), seg_map_path=str(labels.absolute()))
        dataset = SegFolder(
            '', names, prefix, reduce_zero_label=args.reduce_zero_label, pipeline=pipeline, test_mode=True
        )
        loaders.append(DataLoader(dataset, batch_size=8, num_workers=args.num_workers, collate_fn=pseudo_collate))
    bank, queries = loaders
    scores = score_by_patches(model, bank, queries, args.max_per_class, args.num_neighbors, seed=args.seed)
    _report(scores, args.json)


def _load(args: argparse.Namespace) -> tuple[BEiTv2, str]:
    """The pretrained model that a tool's options name, and the device that it is on."""
    cfg = read_config(args.config, args.cfg_options)
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    options = {'model.tokenizer.init_cfg': None}  # not asked here
    return load_model(cfg, args.checkpoint, of='mmbeitv2.BEiTv2', cfg_options=options, device=device), device


def _report(result: dict[str, float], path: Path | None) -> None:
    sys.stdout.write('\n'.join(f'{key} {value:.2f}' for key, value in result.items()) + '\n')
    if path is not None:
        AtomicBackend().put_text(json.dumps(result) + '\n', path)
