"""Frozen readings of a backbone: k nearest neighbors, a linear probe, and a linear segmentation of its patches.

    python -m mmbeitv2_tools.evidence.readings CONFIG --json FILE [--dense] [--cfg-options ...]

CONFIG is one of configs/evidence that has ``model.backbone``. Each image is encoded once. All settings of a reading are
chosen on images that are not scored: a fifth of the training images, CamVid's validation split.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import PackSegInputs
from mmseg.evaluation import IoUMetric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmbeitv2.datasets import FitImage, LoadImage, stack_samples
from mmbeitv2.evaluation.knn import knn_votes
from mmbeitv2.evaluation.probing import fit_linear_probe
from mmbeitv2.fileio.outputs import write_json
from mmbeitv2.inference.config import read_config
from mmbeitv2.registry import DATASETS, MODELS
from mmbeitv2.segmentation import LoadSegLabels, SegFolder
from mmbeitv2_tools.evidence.study import CONFIGS
from mmbeitv2_tools.options import make_parser

WEIGHT_DECAYS = (1e-4, 1e-3, 1e-2)
PATCH_WEIGHT_DECAYS = (1e-5, 1e-4, 1e-3)
# Height and width at which CamVid is read, multiples of the patch size.
CAMVID_SIZE = (176, 240)
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def read_images(cfg: Config, bank_step: int) -> dict[str, dict[str, float]]:
    """k-NN and linear top-1 in percent on the test images, for each form of feature.

    Args:
        cfg: config of the fine-tuning.
        bank_step: one of so many training images is learned from.
    """
    backbone = build_backbone(cfg)
    preprocessor = MODELS.build(cfg.model.data_preprocessor).to(DEVICE)
    dataset = cfg.val_dataloader.dataset
    features, labels = {}, {}
    for split, options in (('bank', dict(data_prefix='train', step=bank_step)), ('query', {})):
        images = DATASETS.build({**dataset, **options})
        loader = DataLoader(images, 256, num_workers=1, collate_fn=stack_samples)
        tokens = [tokens_of(backbone, preprocessor(batch)['inputs']) for batch in loader]
        features[split] = {form: torch.cat([each[form] for each in tokens]) for form in tokens[0]}
        labels[split] = np.array([images.get_data_info(i)['gt_label'] for i in range(len(images))])
    return {
        form: score_images(features['bank'][form], labels['bank'], features['query'][form], labels['query'])
        for form in features['bank']
    }


@torch.no_grad()
def tokens_of(backbone: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The CLS token (B, C), if there is one, and the mean of the patches (B, C) of images (B, 3, H, W)."""
    tokens = backbone(images)[-1].float().cpu()
    patches = tokens[:, -math.prod(patch_grid(backbone, images)) :]
    forms = {'mean': patches.mean(dim=1)}
    return forms if patches.shape == tokens.shape else {'cls': tokens[:, 0], **forms}


def patch_grid(backbone: Any, images: Tensor) -> tuple[int, int]:
    """The patches (h, w) that a backbone makes of images (B, 3, H, W)."""
    side = backbone.patch_size if hasattr(backbone, 'patch_size') else backbone.patch_embed.projection.stride[0]
    return images.shape[2] // side, images.shape[3] // side


def score_images(bank: Tensor, labels: np.ndarray, queries: Tensor, truth: np.ndarray) -> dict[str, float]:
    """Top-1 in percent of 20 nearest neighbors and of multinomial logistic regression, and of the latter on held-out
    images of the bank (n, C), on which its weight decay is chosen."""
    unit_bank, unit_queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    nearest = knn_votes(unit_bank, torch.from_numpy(labels), unit_queries, 20, 0.07).argmax(dim=1).numpy()
    probe, held_out = fit_linear_probe(bank.numpy(), labels, WEIGHT_DECAYS, max_iter=100)
    return {
        'knn': 100 * float((nearest == truth).mean()),
        'linear': 100 * float(probe.score(queries.numpy(), truth)),
        'held_out': held_out,
    }


def read_camvid(cfg: Config, root: Path, classes: list[str]) -> float:
    """mIoU in percent of a linear classifier of patches on CamVid's test split, its logits enlarged to the labels."""
    backbone = build_backbone(cfg, CAMVID_SIZE)
    preprocessor = MODELS.build(cfg.model.data_preprocessor).to(DEVICE)
    splits = {name: list(camvid(backbone, preprocessor, root, name, classes)) for name in ('training', 'validation')}
    maps = torch.cat([features for features, _ in splits['training']])  # (n, C, h, w)
    mean, std = maps.mean(dim=(0, 2, 3), keepdim=True), maps.std(dim=(0, 2, 3), keepdim=True) + 1e-6
    targets = torch.cat(
        [shares(labels, (maps.shape[2], maps.shape[3]), len(classes)) for _, labels in splits['training']]
    )
    patches = ((maps - mean) / std).permute(0, 2, 3, 1).flatten(0, 2)  # (n·h·w, C)
    fitted = [fit_patches(patches, targets, decay) for decay in PATCH_WEIGHT_DECAYS]
    scores = [mean_iou(linear, splits['validation'], mean, std) for linear in fitted]
    best = fitted[int(np.argmax(scores))]
    return mean_iou(best, list(camvid(backbone, preprocessor, root, 'test', classes)), mean, std)


@torch.no_grad()
def camvid(
    backbone: nn.Module, preprocessor: nn.Module, root: Path, split: str, classes: list[str]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Feature maps (B, C, h, w) and labels (B, H, W) of a split, 255 where there is none."""
    pipeline = [LoadImage(), LoadSegLabels(num_classes=len(classes)), FitImage(CAMVID_SIZE, 'stretch'), PackSegInputs()]
    prefix = dict(img_path=f'images/{split}', seg_map_path=f'annotations/{split}')
    images = SegFolder(str(root), classes, prefix, ignored_labels=[11], pipeline=pipeline, test_mode=True)
    for batch in DataLoader(images, 8, num_workers=1, collate_fn=pseudo_collate):
        inputs = preprocessor({'inputs': torch.stack(batch['inputs'])})['inputs']
        grid = patch_grid(backbone, inputs)
        patches = backbone(inputs)[-1].cpu()[:, -math.prod(grid) :]
        labels = torch.stack([sample.gt_sem_seg.data for sample in batch['data_samples']])  # (B, 1, 360, 480)
        labels = F.interpolate(labels.float(), size=CAMVID_SIZE, mode='nearest-exact')[:, 0].long()
        yield patches.transpose(1, 2).unflatten(2, grid), labels


def shares(labels: Tensor, grid: tuple[int, int], num_classes: int) -> Tensor:
    """Share of each class in each patch (B·h·w, K) of labels (B, H, W); zeros where no pixel is labeled."""
    hot = F.one_hot(labels.where(labels < num_classes, num_classes), num_classes + 1)[..., :num_classes]
    return F.adaptive_avg_pool2d(hot.permute(0, 3, 1, 2).float(), grid).permute(0, 2, 3, 1).flatten(0, 2)


def fit_patches(patches: Tensor, targets: Tensor, weight_decay: float) -> nn.Linear:
    """Multinomial logistic regression of shares (n, K) on features (n, C)."""
    linear = nn.Linear(patches.shape[1], targets.shape[1])
    nn.init.zeros_(linear.weight)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=60, line_search_fn='strong_wolfe')

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -(targets * linear(patches).log_softmax(dim=1)).sum(dim=1).mean()
        loss = loss + weight_decay * linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return linear


@torch.no_grad()
def mean_iou(linear: nn.Linear, split: list[tuple[Tensor, Tensor]], mean: Tensor, std: Tensor) -> float:
    """mIoU in percent of a classifier of patches."""
    counts = []
    for maps, labels in split:
        logits = linear(((maps - mean) / std).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        predicted = F.interpolate(logits, size=labels.shape[1:], mode='bilinear', align_corners=False).argmax(dim=1)
        counts.append(IoUMetric.intersect_and_union(predicted, labels, linear.out_features, 255))
    intersection, union, *_ = (torch.stack(each).sum(dim=0) for each in zip(*counts, strict=True))
    return 100 * float((intersection / union).nanmean())


def build_backbone(cfg: Config, img_size: tuple[int, int] | None = None) -> nn.Module:
    """The backbone of a config with its weights, for images of this size, in eval mode."""
    backbone = MODELS.build({**cfg.model.backbone, **({} if img_size is None else {'img_size': img_size})})
    backbone.init_weights()
    backbone.to(DEVICE).eval()  # mmpretrain's eval() returns None
    return backbone


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, 'config', '--json', '--cfg-options')
    parser.add_argument('--dense', action='store_true', help='also read CamVid')
    parser.add_argument('--bank-step', type=int, default=2, help='learn from one of so many training images')
    parser.add_argument('--camvid', type=Path, default=Path('data/camvid'), help='folder of CamVid')
    args = parser.parse_args(argv)
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(cfg.randomness.seed)
    scores: dict = {'images': read_images(cfg, args.bank_step)}
    if args.dense:
        classes = list(Config.fromfile(CONFIGS / 'segment.py').classes)
        scores['camvid_linear'] = read_camvid(cfg, args.camvid, classes)
    write_json(args.json, scores)


if __name__ == '__main__':
    main()
