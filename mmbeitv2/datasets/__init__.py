from __future__ import annotations

from mmbeitv2.errors import silent_imports

with silent_imports():  # they print, whether or not they are asked for
    import mmpretrain.datasets  # noqa: F401

from .channels import CHANNEL_EXTENSIONS, LoadChannels
from .collating import stack_samples
from .huggingface import HuggingFaceImages
from .image_folder import ImageFolder, ImageNetVariant, find_images, read_class_folders
from .masking import BlockMaskGenerator, RandomMaskGenerator
from .seeding import SeededInfiniteSampler, SeededSampler, SeedSample
from .seg_folder import SegFolder, read_class_names
from .seg_labels import LoadSegLabels
from .shards import ImageShards, image_files
from .transforms import DrawColorJitter, FitImage, LoadImage, PackMaskedImage, RandomResizedCrop

__all__ = [
    'CHANNEL_EXTENSIONS',
    'BlockMaskGenerator',
    'DrawColorJitter',
    'FitImage',
    'HuggingFaceImages',
    'ImageFolder',
    'ImageNetVariant',
    'ImageShards',
    'LoadChannels',
    'LoadImage',
    'LoadSegLabels',
    'PackMaskedImage',
    'RandomMaskGenerator',
    'RandomResizedCrop',
    'SeedSample',
    'SeededInfiniteSampler',
    'SeededSampler',
    'SegFolder',
    'find_images',
    'image_files',
    'read_class_folders',
    'read_class_names',
    'stack_samples',
]
