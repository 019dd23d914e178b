from __future__ import annotations

from .image_folder import ImageFolder, find_images
from .transforms import BlockMaskGenerator, DrawColorJitter, LoadImage, PackMaskedImage

__all__ = ['BlockMaskGenerator', 'DrawColorJitter', 'ImageFolder', 'LoadImage', 'PackMaskedImage', 'find_images']
