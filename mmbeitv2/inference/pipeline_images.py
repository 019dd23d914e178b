"""Images as the test pipeline of a config makes them, without their labels."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import LoadAnnotations
from mmengine.config import Config
from PIL import Image
from torch.utils.data import Dataset

from mmbeitv2.datasets.channels import to_supported_type
from mmbeitv2.datasets.decoding import is_turned_tiff, to_rgb
from mmbeitv2.datasets.file_backends import unreadable_image
from mmbeitv2.datasets.transforms import to_tensor
from mmbeitv2.errors import InputError, UnreadableImageError
from mmbeitv2.inference.channels import Channels, channels_of
from mmbeitv2.inference.config import scope_of
from mmbeitv2.inference.tiling import TIFF_EXTENSIONS, ArrayImage, TiffImage
from mmbeitv2.registry import TRANSFORMS
from mmbeitv2.segmentation.seg_labels import LoadSegLabels


class PipelineImages(Dataset):
    """Images as the test pipeline of a config makes them.

    Args:
        cfg: the config.
        files: name -> path.
        keep_pixels: whether the samples have their image as it was loaded, as ``loaded``.
    """

    def __init__(self, cfg: Config, files: dict[str, str], keep_pixels: bool) -> None:
        self.files, self.keep_pixels = files, keep_pixels
        self.names = list(files)  #: those that are wanted
        self.channels: Channels | None = channels_of(cfg)
        self.pipeline = (cfg.get('test_dataloader') or {}).get('dataset', {}).get('pipeline')
        if not self.pipeline:
            raise InputError(f'config {cfg.filename!r} has no pipeline in test_dataloader.dataset. Add one.')
        with scope_of(cfg):
            transforms = [TRANSFORMS.build(step) for step in self.pipeline]
        self.load, *self.transforms = (
            each for each in transforms if not isinstance(each, (LoadAnnotations, LoadSegLabels))
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[str, dict | str]:
        """The name of an image with its sample, or with the reason why there is none."""
        name = self.names[index]
        try:
            sample = self.loaded(self.files[name])
            pixels = sample['img']
            for transform in self.transforms:
                sample = transform(sample)
        except UnreadableImageError as error:
            return name, str(error)
        except cv2.error as error:  # of an image of which a transform leaves nothing
            return name, f'image {self.files[name]!r} does not pass the pipeline ({" ".join(str(error).split())}).'
        return name, dict(sample, loaded=pixels) if self.keep_pixels else sample

    def loaded(self, path: str) -> dict:
        """What the first transform loads.

        Raises:
            UnreadableImageError: if it cannot be read.
        """
        try:
            return self.load({'img_path': path})
        except UnreadableImageError:
            raise
        except Exception as error:  # loaders of other libraries raise anything on damaged files
            raise unreadable_image(path, error) from error

    def open(self, path: str) -> ArrayImage | TiffImage:
        """An image, read by windows, with pixels as the first transform loads them; see :meth:`loaded`."""
        if not path.lower().endswith(TIFF_EXTENSIONS):
            return ArrayImage(self.loaded(path)['img'])
        if self.channels is None and is_turned_tiff(path):
            raise unreadable_image(path, InputError('its pixels are turned, by its orientation; store them upright'))
        return TiffImage(path, self._convert)

    def _convert(self, pixels: np.ndarray) -> np.ndarray:
        if self.channels is None:
            return to_rgb(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))[..., ::-1]  # BGR
        return self.channels.loader.checked(to_supported_type(pixels))

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """Loaded pixels (h, w, N) as a picture (h, w, 3) uint8 RGB."""
        return (
            pixels[..., ::-1]
            if self.channels is None
            else self.channels.picture(to_tensor(pixels)).permute(1, 2, 0).numpy()
        )
