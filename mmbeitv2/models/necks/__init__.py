from __future__ import annotations

from .cls_aggregation import CLSAggregationNeck

__all__ = ['CLSAggregationNeck']
