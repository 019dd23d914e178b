from __future__ import annotations

from .image_folder import ImageFolder, ImageNetVariant, find_images
from .seeding import SeededInfiniteSampler, SeededSampler, SeedSample
from .transforms import BlockMaskGenerator, DrawColorJitter, LoadImage, PackMaskedImage, RandomMaskGenerator

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
