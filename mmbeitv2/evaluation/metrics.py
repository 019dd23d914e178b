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
    used at least once) and ``perplexity`` (exponential of the entropy of the codes, 1 to K), of samples with ``codes``,
    ``reconstruction_loss`` and ``num_codes``, which is K.
    """

    default_prefix = 'tokenizer'

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            self.results.append((sample['codes'].cpu(), float(sample['reconstruction_loss']), sample['num_codes']))

    def compute_metrics(self, results: list[tuple[Tensor, float, int]]) -> dict[str, float]:
        codes, losses, sizes = zip(*results, strict=True)
        counts = torch.bincount(torch.cat(codes), minlength=sizes[0])
        return {'reconstruction_loss': sum(losses) / len(losses), **codebook_statistics(counts)}


@METRICS.register_module()
class MaskedTokenAccuracy(BaseMetric):
    """Percent of masked patches whose code is predicted correctly, and two baselines.

    Computes ``accuracy``, ``majority`` (always guessing the most frequent code of these patches) and ``chance``
    (guessing at random among all ``num_codes``), of samples as :meth:`mmbeitv2.pretraining.BEiTv2.predict` makes them.
    """

    default_prefix = 'mim'

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            codes, predicted = (sample[key][sample['mask']].cpu() for key in ('codes', 'predicted_codes'))
            self.results.append((codes, predicted, sample['num_codes']))

    def compute_metrics(self, results: list[tuple[Tensor, Tensor, int]]) -> dict[str, float]:
        columns = tuple(zip(*results, strict=True))
        codes, predicted = map(torch.cat, columns[:2])
        return {
            'accuracy': 100 * float((codes == predicted).double().mean()),
            'majority': 100 * int(torch.bincount(codes).max()) / len(codes),
            'chance': 100 / columns[2][0],
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
