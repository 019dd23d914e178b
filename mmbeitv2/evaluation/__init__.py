"""Metrics."""

from mmbeitv2.evaluation.metrics import (
    CodebookMetric,
    MaskedTokenAccuracy,
    PeakSignalNoiseRatio,
    SubsetAccuracy,
    codebook_statistics,
)

__all__ = ['CodebookMetric', 'MaskedTokenAccuracy', 'PeakSignalNoiseRatio', 'SubsetAccuracy', 'codebook_statistics']
