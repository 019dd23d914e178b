from __future__ import annotations

from .collating import stack_samples
from .image_folder import ImageFolder, ImageNetVariant, find_images
from .masking import BlockMaskGenerator, RandomMaskGenerator
from .seeding import SeededInfiniteSampler, SeededSampler, SeedSample
from .transforms import DrawColorJitter, FitImage, LoadImage, PackMaskedImage, RandomResizedCrop

__all__ = [
    'BlockMaskGenerator',
    'DrawColorJitter',
    'FitImage',
    'ImageFolder',
    'ImageNetVariant',
    'LoadImage',
    'PackMaskedImage',
    'RandomMaskGenerator',
    'RandomResizedCrop',
    'SeedSample',
    'SeededInfiniteSampler',
    'SeededSampler',
    'find_images',
    'stack_samples',
]
