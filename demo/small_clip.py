"""The teacher of the quickstart: the image tower of a CLIP that is small enough to be trained on a CPU in a minute."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.layers import Precision
from mmbeitv2.registry import MODELS
from mmbeitv2.teachers import FrozenTeacher

# Of CLIP's images in [0, 1], as open_clip has them; importing it takes a second.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class ImageTower(nn.Module):
    """A convolutional network whose feature map has a cell for every 8x8 pixels.

    Its image embedding is the mean of the map, so that the cells themselves are drawn to the captions. The map ends
    with a batch norm: without it, the features of all cells share a large mean, and the cosine in VQ-KD's loss hardly
    tells them apart.

    Args:
        width: channels of the last stage and of the embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = [(3, width // 4, 2), (width // 4, width // 2, 2), (width // 2, width // 2, 1), (width // 2, width, 2)]
        sizes += [(width, width, 1)] * 2
        layers: list[nn.Module] = []
        for inputs, outputs, stride in sizes:
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.proj = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width, affine=False))

    def forward(self, images: Tensor) -> Tensor:
        """Feature map (B, width, H/8, W/8) of normalized images (B, 3, H, W)."""
        return self.proj(self.layers(images))


@MODELS.register_module()
class SmallCLIPTeacher(FrozenTeacher):
    """The image tower of a CLIP that ``python -m demo.clip`` has trained.

    Args:
        pretrained: ``small_clip.pth``, which that command wrote.
        precision: of the network's products under autocast, see :class:`Frozen`.
    """

    def __init__(self, pretrained: str, precision: Precision = 'float16') -> None:
        if not Path(pretrained).is_file():
            raise InputError(
                f'teacher weights {pretrained!r} do not exist. Make them by python -m demo.clip IMAGES FOLDER.'
            )
        saved = torch.load(pretrained, map_location='cpu', weights_only=True)
        tower = ImageTower(saved['width'])
        tower.load_state_dict(saved['state_dict'])
        super().__init__(tower, saved['img_size'], MEAN, STD, precision)
        self.embed_dims = saved['width']

    def patch_features(self, images: Tensor) -> Tensor:
        return self.module(images)
