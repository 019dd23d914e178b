"""What the rivals of BEiT v2 in the study need beside the parts of this package and of mmpretrain."""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.model import BaseModule
from mmengine.runner import Runner
from mmengine.utils import to_2tuple
from mmpretrain.models.selfsup import HOGGenerator, MaskFeatViT
from torch import Tensor, nn

from mmbeitv2.datasets import ImageFolder
from mmbeitv2.pretraining import BEiTv2
from mmbeitv2.pretraining.preprocessor import MaskedBatch
from mmbeitv2.registry import DATASETS, HOOKS, MODELS
from mmbeitv2.teachers import FrozenTeacher


@MODELS.register_module()
class TeacherAsTokenizer(nn.Module):
    """Gives :class:`BEiTv2` the features of a teacher where it expects codes.

    Args:
        teacher: config of the teacher.
        img_size: side in pixels of the images.
        patch_size: side in pixels of a patch.
    """

    in_channels = 3

    def __init__(self, teacher: dict, img_size: int, patch_size: int) -> None:
        super().__init__()
        self.teacher = MODELS.build(teacher)
        self.patch_size = patch_size
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.num_codes = self.teacher.embed_dims

    def tokenize(self, images: Tensor) -> Tensor:
        """Features (B, h·w, Dt) of images (B, 3, H, W) in [-1, 1]."""
        return self.teacher(images.add(1).div(2), self.grid_size)


@MODELS.register_module()
class FeatureHead(BaseModule):
    """One linear layer that predicts features instead of codes, by their cosine, as VQ-KD's decoder does.

    Args:
        embed_dims: width C of the tokens.
        num_codes: width Dt of the features.
    """

    shared_head = True

    def __init__(self, embed_dims: int, num_codes: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed_dims, self.num_codes = embed_dims, num_codes
        self.linear = nn.Linear(embed_dims, num_codes)

    def loss(self, features: Tensor, aggregated: Tensor | None, targets: Tensor) -> dict[str, Tensor]:
        """Mean of 1 - cosine of tokens (M, C) and targets (M, Dt), of each branch."""
        branches = {'loss_mim': features} | ({} if aggregated is None else {'loss_mim_cls': aggregated})
        return {
            name: (1 - F.cosine_similarity(self.linear(tokens).float(), targets, dim=-1)).mean()
            for name, tokens in branches.items()
        }


@MODELS.register_module()
class BEiTv2OnAllPatches(BEiTv2):
    """Predicts the codes of the visible patches as well as those of the masked ones."""

    def _loss(self, inputs: MaskedBatch, codes: Tensor) -> dict[str, Tensor]:
        index = torch.arange(codes.shape[1], device=codes.device).expand(len(codes), -1)
        return super()._loss({**inputs, 'masked_index': index}, codes)


@MODELS.register_module()
class FeatureDistillation(BEiTv2):
    """Predicts the teacher's feature of each patch of an image of which nothing is masked."""

    def _loss(self, inputs: MaskedBatch, codes: Tensor) -> dict[str, Tensor]:
        patches = self.backbone(inputs['images'])[-1][:, 1:]  # (B, N, C)
        return self.head.loss(patches.flatten(0, 1), None, codes.flatten(0, 1))


@MODELS.register_module()
class TeacherBackbone(BaseModule):
    """A frozen teacher of stride 16 in the place of a ViT with patches of 8, to be read as the others are.

    Args:
        teacher: config of the teacher, a CNN.
        img_size: height and width in pixels of the images, or their side. The teacher takes them at twice that size.
    """

    patch_size = 8

    def __init__(self, teacher: dict, img_size: int | tuple[int, int], init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.teacher = MODELS.build(teacher)
        self.size = tuple(2 * side for side in to_2tuple(img_size))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Features (B, h·w, Dt) of images (B, 3, H, W) in [0, 1]."""
        larger = F.interpolate(images, self.size, mode='bicubic', align_corners=False, antialias=True).clamp(0, 1)
        features = self.teacher.patch_features((larger - self.teacher.mean) / self.teacher.std)  # (B, Dt, h, w)
        return (features.flatten(2).transpose(1, 2),)


@MODELS.register_module()
class PixelTeacher(FrozenTeacher):
    """The pixels of each patch as its feature: what the tokenizer of BEiT v1 rebuilds.

    A constant beside them, as long as all of them at full contrast, lets a loss that only sees directions tell a patch
    from the same one with more contrast.

    Args:
        img_size: side in pixels of the images.
        patch_size: side in pixels of a patch.
    """

    def __init__(self, img_size: int, patch_size: int) -> None:
        half = (0.5, 0.5, 0.5)
        super().__init__(nn.Identity(), 3 * patch_size**2 + 1, img_size, half, half, 'float32')
        self.patch_size = patch_size

    def patch_features(self, images: Tensor) -> Tensor:
        pixels = F.pixel_unshuffle(images, self.patch_size)  # (B, 3·p², h, w) in [-1, 1]
        return F.pad(pixels, (0, 0, 0, 0, 0, 1), value=pixels.shape[1] ** 0.5)


@MODELS.register_module()
class PatchwiseDecoder(BaseModule):
    """A decoder of VQ-KD without attention, so that each code has to tell the feature of its own patch.

    Args:
        in_channels: width D of a code vector.
        embed_dims: width C of its output.
        img_size: side h of the map of code vectors.
    """

    patch_size = 1

    def __init__(self, in_channels: int, embed_dims: int, img_size: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.in_channels, self.embed_dims, self.grid_size = in_channels, embed_dims, (img_size, img_size)
        self.projection = nn.Conv2d(in_channels, embed_dims, 1)

    def forward(self, codes: Tensor) -> tuple[Tensor]:
        """A map (B, C, h, w) of code vectors (B, D, h, w)."""
        return (self.projection(codes),)


@MODELS.register_module()
class NarrowMaskFeatViT(MaskFeatViT):
    """mmpretrain's ViT with a mask token, whose weights are those of ``init_cfg``: mmpretrain's rule suits a width of
    768."""

    def _init_weights(self, m: nn.Module) -> None:
        """Leaves them as they are."""


@MODELS.register_module()
class SimMIMViT(NarrowMaskFeatViT):
    """mmpretrain's ViT with a mask token, in the form that mmpretrain's SimMIM takes: a feature map (B, C, h, w)."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        if mask is None:
            return super().forward(x, None)
        patches = super().forward(x, mask.flatten(1))[:, 1:]  # (B, N, C)
        return (patches.transpose(1, 2).unflatten(2, self.patch_resolution),)


@MODELS.register_module()
class GridHOGGenerator(HOGGenerator):
    """mmpretrain's HOG features for any grid; mmpretrain's are for 14x14 patches.

    Args:
        grid: patches on a side.
        settings: those of mmpretrain's ``HOGGenerator``.
    """

    def __init__(self, grid: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.grid = grid

    def _reshape(self, hog_feat: Tensor) -> Tensor:
        cells = hog_feat.flatten(1, 2)  # (B, 3·bins, h, w)
        side = cells.shape[-1] // self.grid
        return F.pixel_unshuffle(cells, side).flatten(2).transpose(1, 2)  # (B, N, 3·bins·side²)


@DATASETS.register_module()
class EveryNth(ImageFolder):
    """A share of labeled class folders: one image of ``step``, in the order of their names, so of each class as many.

    Args:
        step: 100 for a hundredth of the images.
        offset: the first one, counted from 0.
        settings: those of :class:`mmbeitv2.datasets.ImageFolder`.
    """

    def __init__(self, step: int = 1, offset: int = 0, **settings: Any) -> None:
        self.step, self.offset = step, offset
        super().__init__(with_label=True, **settings)

    def load_data_list(self) -> list[dict]:
        return super().load_data_list()[self.offset :: self.step]


@HOOKS.register_module()
class ProcessorTimeHook(Hook):
    """Logs the processor time of each training step in seconds, which other work on the machine lengthens less."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.start = time.process_time()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        runner.message_hub.update_scalar('train/processor_time', time.process_time() - self.start)
