from __future__ import annotations

from .pixel_decoder import PixelDecoder
from .quantizer import NormEMAVectorQuantizer
from .teachers import FrozenTeacher, OpenCLIPTeacher, TimmTeacher
from .vqkd import VQKD

__all__ = ['VQKD', 'FrozenTeacher', 'NormEMAVectorQuantizer', 'OpenCLIPTeacher', 'PixelDecoder', 'TimmTeacher']
