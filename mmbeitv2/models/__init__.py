from __future__ import annotations

from mmpretrain.registry import BATCH_AUGMENTS

import mmbeitv2.fileio.locating  # noqa: F401  (from here on mmengine loads weights by our reader)
from mmbeitv2.registry import child_of

from .algorithms import BEiTv2
from .backbones import BEiTv2ViT, EoMTViT
from .heads import BEiTv2MIMHead, EfficientUPerHead, EoMTHead
from .necks import BatchNormNeck, CLSAggregationNeck
from .preprocessor import BEiTv2DataPreprocessor, ChannelsSegDataPreprocessor
from .tokenizers import (
    VQKD,
    DALLETokenizer,
    KMeansTokenizer,
    NormEMAVectorQuantizer,
    OpenCLIPTeacher,
    PixelDecoder,
    SmallCLIPTeacher,
    SphericalKMeans,
    TimmTeacher,
)

__all__ = [
    'VQKD',
    'BEiTv2',
    'BEiTv2DataPreprocessor',
    'BEiTv2MIMHead',
    'BEiTv2ViT',
    'BatchNormNeck',
    'CLSAggregationNeck',
    'ChannelsSegDataPreprocessor',
    'DALLETokenizer',
    'EfficientUPerHead',
    'EoMTHead',
    'EoMTViT',
    'KMeansTokenizer',
    'NormEMAVectorQuantizer',
    'OpenCLIPTeacher',
    'PixelDecoder',
    'SmallCLIPTeacher',
    'SphericalKMeans',
    'TimmTeacher',
]

# A root of its own in mmpretrain: Mixup and CutMix of a config that was inherited by `mmbeitv2::` are found through it.
child_of(BATCH_AUGMENTS, 'mmbeitv2.models')
