from __future__ import annotations

from .dalle import DALLETokenizer
from .pixel_decoder import PixelDecoder
from .quantizer import NormEMAVectorQuantizer
from .teachers import FrozenTeacher, OpenCLIPTeacher, TimmTeacher
from .vqkd import VQKD

__all__ = [
    'VQKD',
    'DALLETokenizer',
    'FrozenTeacher',
    'NormEMAVectorQuantizer',
    'OpenCLIPTeacher',
    'PixelDecoder',
    'TimmTeacher',
]
