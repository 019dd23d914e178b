from __future__ import annotations

from .batch_norm import BatchNormNeck
from .cls_aggregation import CLSAggregationNeck

__all__ = ['BatchNormNeck', 'CLSAggregationNeck']
