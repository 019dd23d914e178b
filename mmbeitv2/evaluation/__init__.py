"""Metrics."""

from .metrics import CodebookMetric, MaskedTokenAccuracy, PeakSignalNoiseRatio, codebook_statistics

__all__ = ['CodebookMetric', 'MaskedTokenAccuracy', 'PeakSignalNoiseRatio', 'codebook_statistics']
