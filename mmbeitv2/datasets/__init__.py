from __future__ import annotations

from .image_folder import ImageFolder
from .transforms import BlockMaskGenerator, DrawColorJitter, LoadImage, PackMaskedImage

__all__ = ['BlockMaskGenerator', 'DrawColorJitter', 'ImageFolder', 'LoadImage', 'PackMaskedImage']
