"""Masked image modeling: the algorithm and its parts."""

from mmpretrain.registry import BATCH_AUGMENTS

from mmbeitv2.registry import child_of

from .beitv2 import BEiTv2
from .cls_aggregation import CLSAggregationNeck
from .mim_head import BEiTv2MIMHead
from .preprocessor import BEiTv2DataPreprocessor

__all__ = ['BEiTv2', 'BEiTv2DataPreprocessor', 'BEiTv2MIMHead', 'CLSAggregationNeck']

# A root of its own in mmpretrain: Mixup and CutMix of a config that was inherited by `mmbeitv2::` are found through it.
child_of(BATCH_AUGMENTS, 'mmbeitv2.pretraining')
