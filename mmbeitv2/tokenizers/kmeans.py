"""A tokenizer without its own network: spherical k-means on the patch features of a teacher. Not in the paper."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch import Tensor

from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS
from mmbeitv2.teachers import FrozenTeacher
from mmbeitv2.tokenizers.distilling import DistillingTokenizer
from mmbeitv2.tokenizers.quantizer import NormEMAVectorQuantizer, l2norm


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
        settings: ``kmeans_init``, ``kmeans_iters`` and ``dead_code_steps`` of :class:`NormEMAVectorQuantizer`.
    """

    sum_length: Tensor

    def __init__(self, num_codes: int = 8192, code_dim: int = 512, decay: float = 0.99, **settings: Any) -> None:
        super().__init__(num_codes, code_dim, decay=decay, **settings)
        # Length of the sum of the members of each code: with the code, which is its direction, the whole sum.
        self.register_buffer('sum_length', torch.zeros(num_codes))

    def _ema_update(self, counts: Tensor, sums: Tensor) -> Tensor:
        weight, has_members = self.embedding.weight, counts > 0
        sums = sums + (self.decay * self.sum_length)[:, None] * weight
        self.sum_length.copy_(torch.where(has_members, sums.norm(dim=1), self.sum_length))
        return torch.where(has_members[:, None], l2norm(sums), weight)

    def _expire_codes(self, z: Tensor, has_members: Tensor, max_steps_unused: int) -> None:
        super()._expire_codes(z, has_members, max_steps_unused)
        is_replaced = (self.steps_unused == 0) & ~has_members
        self.sum_length.masked_fill_(is_replaced, 1)  # its only member is the feature that it was set to


@MODELS.register_module()
class KMeansTokenizer(DistillingTokenizer):
    """Tokenizer that assigns to each patch the cluster of its feature from a frozen teacher.

    One pass over the images is enough, and no gradient is computed. The teacher is needed whenever codes are computed,
    also in pretraining. Checkpoints do not contain its weights, but a fingerprint of them, so that another teacher is
    rejected. Its config has ``optim_wrapper.optimizer=dict(type='mmbeitv2.NoOptimizer')``.

    Args:
        quantizer: config of the codebook, :class:`SphericalKMeans`; ``code_dim`` is taken from the teacher.
        img_size: side in pixels of the images that the tokenizer is made for.
        patch_size: side in pixels of the patch that gets a code; the teacher's features are resampled to it.
        in_channels: channels of the images. The codes do not depend on those that the teacher does not see.
        settings: those of :class:`DistillingTokenizer`: ``teacher``, ``teacher_channels``, ``data_preprocessor``, ...
    """

    teacher_fingerprint: Tensor

    def __init__(
        self, quantizer: dict, img_size: int = 224, patch_size: int = 16, in_channels: int = 3, **settings: Any
    ) -> None:
        super().__init__(**settings)
        if img_size < patch_size or img_size % patch_size:
            raise InputError(f'img_size={img_size} must be a multiple of patch_size={patch_size}. Change one of them.')
        self.in_channels, self.patch_size = in_channels, patch_size
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self._set_quantizer({**quantizer, 'code_dim': self.target_dims})
        fingerprint = 0 if self.teacher is None else self.teacher.fingerprint()
        self.register_buffer('teacher_fingerprint', torch.tensor(fingerprint))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features, code vectors (both (B, h·w, Dt)) and codes (B, h·w) of images (B, C, H, W) in [-1, 1].

        H and W are multiples of the patch size. In training mode, it also updates the codebook.
        """
        grid = (images.shape[2] // self.patch_size, images.shape[3] // self.patch_size)
        features = self.teacher_features(images, grid)
        quantized, _, codes = self.quantize_features(features.transpose(1, 2).unflatten(2, grid))
        return features, quantized.flatten(2).transpose(1, 2), codes

    def distances(self, images: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See :class:`DistillingTokenizer`; the target is the feature itself, so k-means makes the distance small."""
        features, quantized, codes = self.encode(images)
        return codes, 1 - F.cosine_similarity(quantized, features, dim=-1), {}

    def train_step(self, data: dict | tuple | list, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One mini-batch of k-means. It updates the codebook itself, so the optimizer is left out."""
        data = self.data_preprocessor(data, training=True)
        with torch.no_grad():
            losses = self._run_forward(data, mode='loss')
        return self.parse_losses(losses)[1]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Refuses the codebook of another teacher: of the same width it would load, and its codes mean nothing here."""
        saved = state_dict.get(f'{prefix}teacher_fingerprint')
        if saved is not None and self.teacher is not None and int(saved) != int(self.teacher_fingerprint):
            is_former = isinstance(self.teacher, FrozenTeacher) and int(saved) == self.teacher.fingerprint(False)
            if not is_former:  # of version 1.0
                raise InputError(
                    'the k-means tokenizer of the checkpoint was made with another teacher (other weights, input size, '
                    'normalization, layer or standardize). Set the teacher that it was made with.'
                )
        super()._load_from_state_dict(state_dict, prefix, *args)
