from __future__ import annotations

from .metrics import CodebookMetric, MaskedTokenAccuracy

__all__ = ['CodebookMetric', 'MaskedTokenAccuracy']
