from __future__ import annotations

from .image_folder import ImageFolder, ImageNetVariant, find_images
from .masking import BlockMaskGenerator, RandomMaskGenerator
from .seeding import SeededInfiniteSampler, SeededSampler, SeedSample
from .transforms import DrawColorJitter, LoadImage, PackMaskedImage

__all__ = [
    'BlockMaskGenerator',
    'DrawColorJitter',
    'ImageFolder',
    'ImageNetVariant',
    'LoadImage',
    'PackMaskedImage',
    'RandomMaskGenerator',
    'SeedSample',
    'SeededInfiniteSampler',
    'SeededSampler',
    'find_images',
]
