from __future__ import annotations

import mmbeitv2.fileio.locating  # noqa: F401  (from here on mmengine loads weights by our reader)

from .algorithms import BEiTv2
from .backbones import BEiTv2ViT
from .heads import BEiTv2MIMHead
from .necks import CLSAggregationNeck
from .preprocessor import BEiTv2DataPreprocessor
from .tokenizers import VQKD, DALLETokenizer, NormEMAVectorQuantizer, OpenCLIPTeacher, PixelDecoder, TimmTeacher

__all__ = [
    'VQKD',
    'BEiTv2',
    'BEiTv2DataPreprocessor',
    'BEiTv2MIMHead',
    'BEiTv2ViT',
    'CLSAggregationNeck',
    'DALLETokenizer',
    'NormEMAVectorQuantizer',
    'OpenCLIPTeacher',
    'PixelDecoder',
    'TimmTeacher',
]
