"""A tokenizer without its own network: spherical k-means on the patch features of a teacher. Not in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample
from torch import Tensor

from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS
from mmbeitv2.teachers.color import check_color_channels
from mmbeitv2.tokenizers.quantizer import NormEMAVectorQuantizer, l2norm
from mmbeitv2.tokenizers.vqkd import add_codes


@MODELS.register_module()
class SphericalKMeans(NormEMAVectorQuantizer):
    """Codebook of mini-batch k-means on unit vectors.

    Each code is the direction of the sum of its members so far. A new member therefore moves it by one over the number
    of members, as in Sculley, "Web-scale k-means clustering" (2010), algorithm 1; here on the sphere, as in Zhong,
    "Efficient online spherical k-means clustering" (2005). The weight of earlier members is multiplied by ``decay``
    with each batch that adds new ones. :class:`NormEMAVectorQuantizer` moves every code by the same small share per
    batch, which suits an encoder that still changes; on fixed features it needs several times as many batches.

    Args:
        num_codes: size K of the codebook.
        code_dim: width D of a code.
        decay: of the members' weight, in [0, 1]; 1 is Sculley's rule.
        kmeans_init: see :class:`NormEMAVectorQuantizer`.
        kmeans_iters: see there.
        dead_code_steps: see there.
    """

    sum_length: Tensor

    def __init__(
        self,
        num_codes: int = 8192,
        code_dim: int = 512,
        decay: float = 0.99,
        kmeans_init: bool = True,
        kmeans_iters: int = 10,
        dead_code_steps: int | None = None,
    ) -> None:
        super().__init__(
            num_codes,
            code_dim,
            decay=decay,
            kmeans_init=kmeans_init,
            kmeans_iters=kmeans_iters,
            dead_code_steps=dead_code_steps,
        )
        # Length of the sum of the members of each code: with the code, which is its direction, the whole sum.
        self.register_buffer('sum_length', torch.zeros(num_codes))

    def _moved(self, counts: Tensor, sums: Tensor) -> Tensor:
        weight, has_members = self.embedding.weight, counts > 0
        sums = sums + (self.decay * self.sum_length)[:, None] * weight
        self.sum_length.copy_(torch.where(has_members, sums.norm(dim=1), self.sum_length))
        return torch.where(has_members[:, None], l2norm(sums), weight)

    def _revive(self, z: Tensor, has_members: Tensor, patience: int) -> None:
        super()._revive(z, has_members, patience)
        is_revived = (self.idle_steps == 0) & ~has_members
        self.sum_length.masked_fill_(is_revived, 1)  # the feature that it was moved onto


@MODELS.register_module()
class KMeansTokenizer(BaseModel):
    """Tokenizer that assigns to each patch the cluster of its feature from a frozen teacher.

    One pass over the images is enough, and no gradient is computed. The teacher is needed whenever codes are computed,
    also in pretraining. Checkpoints do not contain its weights, but a fingerprint of them, so that another teacher is
    rejected.

    Its config has ``optim_wrapper.optimizer=dict(type='mmbeitv2.NoOptimizer')``.

    Args:
        quantizer: config of the codebook, :class:`SphericalKMeans`; ``code_dim`` is taken from the teacher.
        teacher: config of the teacher; with None, the codebook can be inspected but not used to tokenize.
        img_size: side in pixels of the images that the tokenizer is made for.
        patch_size: side in pixels of the patch that gets a code; the teacher's features are resampled to it.
        target_dims: width of the teacher's features, only needed without a teacher.
        teacher_channels: channels of the images that the teacher sees as red, green and blue, see :class:`VQKD`; the
            codes do not depend on other channels.
        data_preprocessor: config of the preprocessor, which must bring images to [-1, 1].
        init_cfg: see mmengine; ``mmbeitv2.PretrainedBEiTv2`` loads a checkpoint of this tokenizer.
    """

    teacher_fingerprint: Tensor

    def __init__(
        self,
        quantizer: dict,
        teacher: dict | None = None,
        img_size: int = 224,
        patch_size: int = 16,
        target_dims: int | None = None,
        teacher_channels: Sequence[int] | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if patch_size < 1 or img_size < patch_size or img_size % patch_size:
            raise InputError(f'img_size={img_size} must be a multiple of patch_size={patch_size}. Change one of them.')
        self.teacher = None if teacher is None else MODELS.build(teacher)
        width = target_dims if self.teacher is None else self.teacher.embed_dims
        if width is None:
            raise InputError('a k-means tokenizer clusters the features of a teacher, but has none. Set teacher.')
        if quantizer.get('code_dim', width) != width or target_dims not in (None, width):
            raise InputError(
                f'the features of the teacher are {width} wide, so the codes are too. Leave code_dim and target_dims '
                'out.'
            )
        self.quantize = MODELS.build({**quantizer, 'code_dim': width})
        self.patch_size = patch_size
        self.teacher_channels = None if teacher_channels is None else list(teacher_channels)
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        fingerprint = 0 if self.teacher is None else self.teacher.fingerprint()
        self.register_buffer('teacher_fingerprint', torch.tensor(fingerprint))

    @property
    def num_codes(self) -> int:
        """Size of the codebook."""
        return self.quantize.num_codes

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features and codes of images; in training mode it also moves the codebook.

        Args:
            images: (B, 3, H, W) in [-1, 1], H and W multiples of the patch size.

        Returns:
            The teacher's features (B, h·w, Dt), the code vectors (B, h·w, Dt), the codes (B, h·w) int64.
        """
        if self.teacher is None:
            raise InputError('this k-means tokenizer has no teacher, but needs its features. Set teacher.')
        grid = (images.shape[2] // self.patch_size, images.shape[3] // self.patch_size)
        if self.teacher_channels is not None:
            check_color_channels('teacher_channels', self.teacher_channels, images.shape[1])
            images = images[:, self.teacher_channels].clamp(-1, 1)
        elif images.shape[1] != 3:
            raise InputError(
                f'the images have {images.shape[1]} channels, but the teacher takes three. Set teacher_channels of '
                'the tokenizer to the channels that the teacher should see as red, green and blue.'
            )
        features = self.teacher(images.add(1).div(2), grid)
        if self.training:
            self._require_finite(images, features)
        quantized, _, codes = self.quantize(features.transpose(1, 2).unflatten(2, grid))
        return features, quantized.flatten(2).transpose(1, 2), codes

    def tokenize(self, images: Tensor) -> Tensor:
        """Codes (B, h·w) int64 of images (B, 3, H, W) in [-1, 1]."""
        return self.encode(images)[2]

    def lookup(self, codes: Tensor) -> Tensor:
        """Code vectors (..., D) of codes (...)."""
        return self.quantize.lookup(codes)

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[DataSample]:
        """Runs the tokenizer.

        Args:
            inputs: images (B, 3, H, W) in [-1, 1].
            data_samples: one per image, used by ``mode='predict'``.
            mode: ``'tensor'`` returns the codes (B, h·w); ``'loss'`` the mean of 1 - cosine of feature and code, which
                k-means makes small; ``'predict'`` the data samples with ``codes`` (h·w,) and ``reconstruction_loss``
                (1,) for the metrics.
        """
        if mode == 'tensor':
            return self.tokenize(inputs)
        features, quantized, codes = self.encode(inputs)
        distance = 1 - F.cosine_similarity(quantized, features, dim=-1)
        if mode == 'loss':
            return dict(loss_reconstruction=distance.mean())
        if mode == 'predict':
            return add_codes(data_samples, codes, distance)
        raise InputError(f'mode={mode!r} is unknown. Choose tensor, loss or predict.')

    def train_step(self, data: dict | tuple | list, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One mini-batch of k-means. It moves the codebook itself, so the optimizer is left out."""
        data = self.data_preprocessor(data, training=True)
        with torch.no_grad():
            losses = self._run_forward(data, mode='loss')
        return self.parse_losses(losses)[1]

    @staticmethod
    def _require_finite(images: Tensor, features: Tensor) -> None:
        """Refuses what would leave NaN in the codebook for good."""
        if not features.isfinite().all():
            raise InputError(
                'an image has pixels that are NaN or infinite. Remove it.'
                if not images.isfinite().all()
                else (
                    "the teacher's features are NaN or infinite. Check its weights, or set "
                    'model.teacher.precision=float32.'
                )
            )

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Refuses the codebook of another teacher: of the same width it would load, and its codes mean nothing here."""
        saved = state_dict.get(f'{prefix}teacher_fingerprint')
        if saved is not None and self.teacher is not None and int(saved) != int(self.teacher_fingerprint):
            raise InputError(
                'the k-means tokenizer of the checkpoint was made with another teacher (other weights, input size '
                'or layer). Set the teacher that it was made with.'
            )
        super()._load_from_state_dict(state_dict, prefix, *args)
