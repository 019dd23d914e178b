from __future__ import annotations

from .dalle import DALLETokenizer
from .kmeans import KMeansTokenizer, SphericalKMeans
from .pixel_decoder import PixelDecoder
from .quantizer import NormEMAVectorQuantizer
from .small_clip import SmallCLIPTeacher
from .teachers import FrozenTeacher, OpenCLIPTeacher, TimmTeacher
from .vqkd import VQKD

__all__ = [
    'VQKD',
    'DALLETokenizer',
    'FrozenTeacher',
    'KMeansTokenizer',
    'NormEMAVectorQuantizer',
    'OpenCLIPTeacher',
    'PixelDecoder',
    'SmallCLIPTeacher',
    'SphericalKMeans',
    'TimmTeacher',
]
