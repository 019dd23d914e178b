"""Tokenizers: from an image to one code for each patch."""

from .dalle import DALLETokenizer
from .distilling import DistillingTokenizer
from .kmeans import KMeansTokenizer, SphericalKMeans
from .pixel_decoder import PixelDecoder
from .quantizer import NormEMAVectorQuantizer
from .vector_quantize import VectorQuantizePytorch
from .vqkd import VQKD

__all__ = [
    'VQKD',
    'DALLETokenizer',
    'DistillingTokenizer',
    'KMeansTokenizer',
    'NormEMAVectorQuantizer',
    'PixelDecoder',
    'SphericalKMeans',
    'VectorQuantizePytorch',
]
