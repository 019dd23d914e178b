"""Metrics of the tokenizer, of masked image modeling, and of robustness."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.evaluation import Accuracy
from torch import Tensor

from mmbeitv2.errors import InputError
from mmbeitv2.registry import METRICS


def codebook_statistics(counts: Tensor) -> dict[str, float]:
    """How a codebook is used.

    Args:
        counts: (K,), how often each code occurs.

    Returns:
        ``codebook_usage`` (percent of the codes that occur) and ``perplexity`` (exponential of their entropy, 1 to K).
    """
    share = counts[counts > 0].double() / counts.sum()
    return {
        'codebook_usage': 100 * len(share) / len(counts),
        'perplexity': float(torch.exp(-(share * share.log()).sum())),
    }


@METRICS.register_module()
class CodebookMetric(BaseMetric):
    """How well a tokenizer reconstructs its teacher's features, and how much of its codebook it uses.

    Computes ``reconstruction_loss`` (mean of 1 - cosine over all patches), ``codebook_usage`` (percent of the codes
    used at least once) and ``perplexity`` (exponential of the entropy of the codes, 1 to K).

    Args:
        num_codes: size K of the codebook.
        collect_device: see mmengine.
        prefix: of the names.
    """

    default_prefix = 'tokenizer'

    def __init__(self, num_codes: int, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.num_codes = num_codes

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            self.results.append((sample['codes'].cpu(), float(sample['reconstruction_loss'])))

    def compute_metrics(self, results: list[tuple[Tensor, float]]) -> dict[str, float]:
        counts = torch.bincount(torch.cat([codes for codes, _ in results]), minlength=self.num_codes)
        reconstruction_loss = sum(loss for _, loss in results) / len(results)
        return {'reconstruction_loss': reconstruction_loss, **codebook_statistics(counts)}


@METRICS.register_module()
class MaskedTokenAccuracy(BaseMetric):
    """Percent of masked patches whose code is predicted correctly, and two baselines.

    Computes ``accuracy``, ``majority`` (always guessing the most frequent code of these patches) and ``chance``
    (guessing at random among all codes).

    Args:
        num_codes: size of the codebook.
        collect_device: see mmengine.
        prefix: of the names.
    """

    default_prefix = 'mim'

    def __init__(self, num_codes: int, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.num_codes = num_codes

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            mask = sample['mask']
            self.results.append((sample['codes'][mask].cpu(), sample['predicted_codes'][mask].cpu()))

    def compute_metrics(self, results: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
        codes, predicted = (torch.cat(column) for column in zip(*results, strict=True))
        return {
            'accuracy': 100 * float((codes == predicted).double().mean()),
            'majority': 100 * int(torch.bincount(codes).max()) / len(codes),
            'chance': 100 / self.num_codes,
        }


@METRICS.register_module()
class PeakSignalNoiseRatio(BaseMetric):
    """Mean over the images of the peak signal-to-noise ratio, ``psnr`` in dB; images in [-1, 1]."""

    default_prefix = 'pixels'

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        self.results += [float(sample['squared_error']) for sample in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        peak = 2.0  # from -1 to 1
        return {'psnr': sum(10 * math.log10(peak**2 / max(error, 1e-12)) for error in results) / len(results)}


@METRICS.register_module()
class SubsetAccuracy(Accuracy):
    """mmpretrain's ``Accuracy`` restricted to the classes of the test set, for a classifier with more classes.

    ImageNet-A and -R have 200 of the 1000 classes; the scores of the others are ignored, as in the reference.

    Args:
        kwargs: see ``Accuracy``.
    """

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Takes data samples with ``pred_score`` (classes,) and ``gt_label`` (1,)."""
        indices = (self.dataset_meta or {}).get('class_indices')
        if indices is None:
            raise InputError('SubsetAccuracy needs to know the classes of the test set. Use mmbeitv2.ImageNetVariant.')
        masked = []
        for sample in data_samples:
            scores = torch.full_like(sample['pred_score'], -torch.inf)
            scores[indices] = sample['pred_score'][indices]
            masked.append({**sample, 'pred_score': scores})
        super().process(data_batch, masked)
