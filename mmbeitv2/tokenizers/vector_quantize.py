"""The quantizers of the library vector-quantize-pytorch behind our interface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import broadcast, get_world_size
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS

# A tokenizer counts its codes and a head predicts each of them, so that memory grows with K.
_MAX_CODES = 2**24
_QUANTIZERS = ('FSQ', 'LFQ', 'SimVQ', 'VectorQuantize', 'ResidualVQ', 'ResidualFSQ', 'ResidualLFQ', 'ResidualSimVQ')


@MODELS.register_module()
class VectorQuantizePytorch(nn.Module):
    """A quantizer of vector-quantize-pytorch: FSQ, LFQ, SimVQ, VectorQuantize, or a residual one of these.

    ``VectorQuantize`` with ``heads`` and ``separate_codebook_per_head`` is a product quantizer.

    The code of a patch is one number: the indices of several levels or codebooks are its digits, the first one the most
    significant. Everything runs in float32.

    All processes have the same codebook after each step if the model is wrapped for distributed training: FSQ and LFQ
    have none, SimVQ trains its own by gradients, and VectorQuantize and ResidualVQ sum over all processes (with
    ``kmeans_init`` and ``threshold_ema_dead_code`` too). A product quantizer cannot have ``kmeans_init`` then. For LFQ,
    two processes do not equal one, because version 1.32 of the library takes the mean of the batch's probabilities
    wrongly: each process uses its own, divided by their number.

    Args:
        quantizer: name of a class of the library: ``'FSQ'``, ``'LFQ'``, ``'SimVQ'``, ``'VectorQuantize'``,
            ``'ResidualVQ'``, ``'ResidualFSQ'``, ``'ResidualLFQ'``, ``'ResidualSimVQ'``.
        code_dim: width D of a feature vector and of a code vector, ``dim`` of the library.
        settings: the other arguments of that class, for example ``levels``, ``codebook_size``, ``num_quantizers``.

    Raises:
        InputError: if the library is not installed, the quantizer is none of these, or there are too many codes.
    """

    def __init__(self, quantizer: str, code_dim: int, **settings: Any) -> None:
        super().__init__()
        try:
            import vector_quantize_pytorch as library
        except ImportError as error:
            raise InputError(
                "this quantizer needs vector-quantize-pytorch. Install it: pip install 'mmbeitv2[quantizers]'"
            ) from error
        if quantizer not in _QUANTIZERS:
            raise InputError(f'quantizer={quantizer!r} is not supported. Choose one of {", ".join(_QUANTIZERS)}.')
        if quantizer in ('VectorQuantize', 'ResidualVQ'):  # whose default is what was true when first asked
            settings.setdefault('sync_codebook', get_world_size() > 1)
        self.quantizer = getattr(library, quantizer)(dim=code_dim, **settings)
        if getattr(self.quantizer, 'quantize_dropout', False):
            raise InputError('quantize_dropout leaves levels out, so that a patch has no code. Set it to False.')
        self.code_dim, self.sizes = code_dim, _sizes_of(self.quantizer)
        self.num_codes = math.prod(self.sizes)
        self._is_synchronized = False
        if self.num_codes > _MAX_CODES:
            raise InputError(f'{quantizer} with {self.sizes} would have more than {_MAX_CODES} codes. Make it smaller.')

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantizes a feature map, and in training mode updates the codebook.

        Args:
            z: (B, D, h, w).

        Returns:
            Code vectors (B, D, h, w) with the gradient of ``z``, as the library passes it on; the library's loss, a
            scalar, 0 if it has none; the codes (B, h·w) int64.
        """
        if self.training and not self._is_synchronized:  # mmengine's wrapper leaves buffers as each process drew them
            for buffer in self.buffers():
                broadcast(buffer)
            self._is_synchronized = True
        with torch.autocast(z.device.type, enabled=False):
            vectors, indices, *losses = self.quantizer(z.float().flatten(2).transpose(1, 2))  # (B, N, D)
        codes = torch.zeros(vectors.shape[:2], dtype=torch.int64, device=z.device)
        for size, digit in zip(self.sizes, indices.reshape(*codes.shape, -1).unbind(-1), strict=True):
            codes = codes * size + digit
        loss = losses[0].sum() if losses else vectors.new_zeros(())
        return vectors.transpose(1, 2).unflatten(2, z.shape[-2:]), loss, codes

    def lookup(self, codes: Tensor) -> Tensor:
        """Code vectors (..., D) of codes (...)."""
        digits: list[Tensor] = []
        rest = codes.reshape(1, -1)
        for size in reversed(self.sizes):
            digits.insert(0, rest % size)
            rest = rest // size
        indices = torch.stack(digits, dim=-1) if len(digits) > 1 else digits[0]
        # Residual quantizers and VectorQuantize have the first name, the others the second.
        look_up = getattr(self.quantizer, 'get_output_from_indices', None) or self.quantizer.indices_to_codes
        with torch.autocast(codes.device.type, enabled=False):
            if getattr(self.quantizer, 'heads', 1) > 1 and self.quantizer.codebook.ndim == 2:  # the library fails here
                vectors = self.quantizer.project_out(self.quantizer.codebook[indices].flatten(-2))
            else:
                vectors = look_up(indices)
        return vectors.reshape(*codes.shape, self.code_dim)


def _sizes_of(quantizer: Any) -> Sequence[int]:
    """Number of indices at each level, or in each codebook, of a quantizer of the library."""
    if hasattr(quantizer, 'layers'):
        return [layer.codebook_size for layer in quantizer.layers]
    return [quantizer.codebook_size] * getattr(quantizer, 'num_codebooks', getattr(quantizer, 'heads', 1))
