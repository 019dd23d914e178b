"""What each kind of part must offer, so that parts of other projects plug in.

A part is accepted for what it offers, not for its class: nothing in this package asks for the name of a type. The page
"Extend" of the documentation has an example of each kind. Sizes: B images, N = h·w patches, M masked patches, C
channels of tokens, D of codes, K codes.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Quantizer(Protocol):
    """Replaces feature vectors by codes; part of :class:`mmbeitv2.tokenizers.VQKD`.

    In training mode, the forward also updates the codebook; afterwards, all processes must have the same one.
    """

    num_codes: int  #: K
    code_dim: int  #: D, width of a feature vector and of a code vector

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D, h, w) -> code vectors (B, D, h, w) with the gradient of ``z``, a scalar loss, codes (B, h·w) int64."""

    def lookup(self, codes: Tensor) -> Tensor:
        """Code vectors (..., D) of codes (...) int64."""


@runtime_checkable
class Tokenizer(Protocol):
    """Gives one code to each patch of an image."""

    num_codes: int  #: K
    grid_size: tuple[int, int]  #: codes (h, w) of an image of the size that the tokenizer is made for
    patch_size: int  #: side in pixels of the patch that a code belongs to
    in_channels: int  #: channels of an image

    def tokenize(self, images: Tensor) -> Tensor:
        """Codes (B, h·w) int64 of images (B, in_channels, H, W) in [-1, 1]."""


@runtime_checkable
class CodebookTokenizer(Tokenizer, Protocol):
    """A tokenizer whose codes stand for vectors. Only pictures of the codebook and pixel decoders need them."""

    code_dim: int  #: D

    def lookup(self, codes: Tensor) -> Tensor:
        """Code vectors (..., D) of codes (...) int64."""


@runtime_checkable
class Encoder(Protocol):
    """Encoder or decoder of a tokenizer."""

    embed_dims: int  #: C
    grid_size: tuple[int, int]  #: (h, w) of an image of the size that it is made for
    patch_size: int  #: in pixels; 1 for a decoder, whose input is a map of code vectors
    in_channels: int  #: of the input

    def __call__(self, x: Tensor) -> tuple[Tensor]:
        """(B, in_channels, H, W) -> one feature map (B, C, h, w)."""


@runtime_checkable
class Teacher(Protocol):
    """A frozen network whose patch features are distilled; :class:`mmbeitv2.teachers.FrozenTeacher` is a base class."""

    embed_dims: int  #: width of the features

    def __call__(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] -> features (B, h·w, embed_dims) float32, resampled to the grid (h, w)."""

    def fingerprint(self) -> int:
        """A number of 64 bits, signed, that tells apart teachers whose features differ."""


class MaskedFeatures(NamedTuple):
    """The outputs of a backbone that pretraining needs."""

    masked: Tensor  #: (B, M, C), the masked patches after the last layer L and the final norm
    cls_token: Tensor  #: (B, 1, C), the CLS token after layer L, before the norm
    layer_l_patches: Tensor | None  #: (B, N, C), the patches after layer l; None if the backbone was not asked for it
    context: Any = None  #: what the backbone's blocks take beside the tokens, for example a position bias


@runtime_checkable
class PretrainingBackbone(Protocol):
    """Backbone of :class:`mmbeitv2.pretraining.BEiTv2`."""

    embed_dims: int  #: C
    grid_size: tuple[int, int]  #: (h, w) of an image of the size that it is made for
    patch_size: int  #: in pixels
    in_channels: int  #: of an image

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (B, in_channels, H, W) -> outputs, of which the last is all tokens (B, 1+N, C), normalized."""

    def forward_masked(self, images: Tensor, mask: Tensor, masked_index: Tensor) -> MaskedFeatures:
        """Encodes images (B, in_channels, H, W) whose patches are replaced by a mask token.

        ``mask`` is (B, N) bool, true where the patch is masked; ``masked_index`` is (B, M) int64, the same patches,
        counted from 0.
        """

    def final_norm_of(self, tokens: Tensor) -> Tensor:
        """The norm after the last layer, (..., C) -> (..., C)."""

    def aggregation_blocks(self, depth: int) -> nn.ModuleList:
        """New blocks like its own for the patch aggregation, as if they followed layer l.

        Each is called as ``block(tokens, context, queries)``: tokens (B, 1+N, C), the context of
        :class:`MaskedFeatures`, and None or the tokens (B, M) int64 to compute, counted from 0 (CLS).
        """


@runtime_checkable
class Neck(Protocol):
    """Patch aggregation. Built with ``backbone=`` the built backbone, which it must not keep."""

    shared_head: bool  #: whether final norm and linear head are those of the main branch

    def __call__(self, features: MaskedFeatures, masked_index: Tensor) -> Tensor:
        """Aggregated masked patches (B, M, C); normalized only if the neck has its own norm."""


@runtime_checkable
class Head(Protocol):
    """Predicts codes. Built with ``embed_dims`` and ``num_codes`` of backbone and tokenizer."""

    embed_dims: int  #: C
    num_codes: int  #: K
    shared_head: bool  #: whether both branches use one linear layer

    def __call__(self, features: Tensor, aggregated: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits (..., K), one tensor per branch, of features (..., C)."""

    def loss(self, features: Tensor, aggregated: Tensor | None, codes: Tensor) -> dict[str, Tensor]:
        """Losses and accuracies of masked features (M, C) with their codes (M,)."""
