"""Images from folders and Hugging Face; transforms, masks, seeds."""

import mmpretrain.datasets  # noqa: F401

from mmbeitv2.datasets.channels import CHANNEL_EXTENSIONS, LoadChannels
from mmbeitv2.datasets.collating import stack_samples
from mmbeitv2.datasets.huggingface import HuggingFaceImages
from mmbeitv2.datasets.image_dataset import ImageDataset
from mmbeitv2.datasets.image_folder import ImageFolder, ImageNetVariant, find_images, image_files
from mmbeitv2.datasets.masking import BlockMaskGenerator, RandomMaskGenerator
from mmbeitv2.datasets.seeding import SeededInfiniteSampler, SeededSampler, SeedSample
from mmbeitv2.datasets.transforms import DrawColorJitter, FitImage, LoadImage, PackMaskedImage, RandomResizedCrop

__all__ = [
    'CHANNEL_EXTENSIONS',
    'BlockMaskGenerator',
    'DrawColorJitter',
    'FitImage',
    'HuggingFaceImages',
    'ImageDataset',
    'ImageFolder',
    'ImageNetVariant',
    'LoadChannels',
    'LoadImage',
    'PackMaskedImage',
    'RandomMaskGenerator',
    'RandomResizedCrop',
    'SeedSample',
    'SeededInfiniteSampler',
    'SeededSampler',
    'find_images',
    'image_files',
    'stack_samples',
]
