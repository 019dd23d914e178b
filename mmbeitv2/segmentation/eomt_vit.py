"""The ViT with queries in its last blocks: mask decoding without a decoder (EoMT, Kerssies et al. 2025)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from mmpretrain.models.utils import LayerNorm2d
from torch import Tensor, nn

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.errors import InputError
from mmbeitv2.layers import to_map
from mmbeitv2.registry import MODELS

# The probability of masked attention is what is left of a sixth of the training, raised to this power (EoMT's code).
_ANNEALING_POWER = 0.9


class MaskPrediction(NamedTuple):
    """What the queries say about the images at one depth of the network."""

    queries: Tensor  #: (B, Q, C), after the final norm
    masks: Tensor  #: (B, Q, H, W), logits


@MODELS.register_module()
class EoMTViT(BEiTv2ViT):
    """A :class:`BEiTv2ViT` whose last blocks also process queries, each of which predicts a mask (EoMT, section 3).

    The relative position bias has separate entries for the queries in each of these blocks; they start at zero.

    In training, a query attends only to the patches inside the mask that it predicts before the block. During training,
    this restriction is gradually removed for more and more queries, one block after another (mask annealing, section
    3.3); inference never uses it. Validation in the first half of the training therefore scores a model that has not
    yet learned to work without it.

    Args:
        num_queries: number of queries Q, at least 1.
        query_blocks: number of last blocks that the queries pass through (``L2`` of the paper: 3 for ViT-S and B, 4 for
            L), from 1 to the depth.
        num_upscales: how often the patch map is doubled before it is compared with the queries, at least 1. EoMT stops
            at a stride of four pixels: 2 for patches of 16 pixels, 1 for 8.
        kwargs: see :class:`BEiTv2ViT`. Predictions are made after its final norm, so ``final_norm`` must be ``'norm'``.
            ``out_indices`` and ``out_type`` have no effect.
    """

    def __init__(self, num_queries: int = 100, query_blocks: int = 3, num_upscales: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.norm is None:
            raise InputError(f"final_norm={self.final_norm!r} does not fit EoMTViT. Set it to 'norm'.")
        if not 1 <= query_blocks <= self.depth:
            raise InputError(
                f'query_blocks={query_blocks} does not fit a backbone of {self.depth} blocks. Choose from 1 to '
                f'{self.depth}.'
            )
        self.query_blocks = query_blocks
        self.mask_module = MaskModule(
            self.embed_dims,
            num_queries,
            num_upscales,
            bias_shape=None if self.rel_pos_bias_type == 'none' else (query_blocks, self.num_heads),
        )

    def forward(self, x: Tensor) -> tuple[MaskPrediction, ...]:  # type: ignore[override]  # a prediction, no features
        """Predicts masks.

        Args:
            x: images (B, C, H, W), H and W at least one patch.

        Returns:
            The predictions after the last block; in training, those before each block with queries come first.
        """
        x, grid = self._embed(x, None)  # (B, 1+N, C)
        context = self.position_context(grid)
        first = self.depth - self.query_blocks
        probs = attn_mask_probs(self.query_blocks) if self.training else []
        predictions = []
        for i, block in enumerate(self.blocks):
            if i == first:
                x = torch.cat((x, self.mask_module.queries.expand(x.shape[0], -1, -1)), dim=1)  # (B, 1+N+Q, C)
            if i < first:
                x = self._run(block, x, context)
            else:
                mask = None
                if self.training:
                    predictions.append(self._predict(x, grid))
                    mask = masked_attention_mask(predictions[-1].masks, grid, probs[i - first])
                bias = block.get_submodule('attn').position_bias(context)  # type: ignore[operator]  # Attention's
                x = self._run(block, x, self.mask_module.join_bias(bias, i - first, mask))
        predictions.append(self._predict(x, grid))
        return tuple(predictions)

    def _predict(self, x: Tensor, grid: tuple[int, int]) -> MaskPrediction:
        assert self.norm is not None  # as checked above
        _, patches, queries = self.norm(x).split((1, grid[0] * grid[1], x.shape[1] - 1 - grid[0] * grid[1]), dim=1)
        return MaskPrediction(queries, self.mask_module(queries, to_map(patches, grid)))


class MaskModule(BaseModule):
    """All that EoMT adds to the ViT but for the classifier: queries, their position bias, and the masks.

    Args:
        dim: width C of the tokens.
        num_queries: number of queries Q.
        num_upscales: how often the patch map is doubled.
        bias_shape: blocks and heads of the queries' position bias; None if there is none.
    """

    def __init__(
        self, dim: int, num_queries: int, num_upscales: int, bias_shape: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        for name, value in (('num_queries', num_queries), ('num_upscales', num_upscales)):
            if value < 1:
                raise InputError(f'{name}={value} must be at least 1')
        self.queries = nn.Parameter(torch.randn(num_queries, dim))
        # Bias per head from a token to one that it attends to: CLS to query, patch to query, query to CLS, query to
        # patch, query to query.
        self.query_bias = None if bias_shape is None else nn.Parameter(torch.zeros(bias_shape[0], 5, bias_shape[1]))
        self.mask_mlp = nn.Sequential(
            nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim)
        )
        self.upscale = nn.Sequential(*(_upscale_layer(dim) for _ in range(num_upscales)))

    def forward(self, queries: Tensor, patches: Tensor) -> Tensor:
        """Mask logits (B, Q, H, W) of queries (B, Q, C) on the patch map (B, C, h, w)."""
        return torch.einsum('bqc,bchw->bqhw', self.mask_mlp(queries), self.upscale(patches))

    def join_bias(self, bias: Tensor | None, block: int, mask: Tensor | None) -> Tensor | None:
        """The position bias of CLS, patches and queries.

        Args:
            bias: (1, num_heads, 1+N, 1+N), that of CLS and patches, or None.
            block: number of the block, counted from the first with queries.
            mask: (B, Q, N) bool, true where the query must not attend to the patch; None for no restriction.

        Returns:
            (1 or B, num_heads or 1, 1+N+Q, 1+N+Q), or None.
        """
        num_queries = len(self.queries)
        if self.query_bias is not None:
            assert bias is not None  # both exist, or none does
            bias = _append_queries(bias, self.query_bias[block], num_queries)
        if mask is None:
            return bias
        num_patches = mask.shape[2]
        mask = F.pad(mask, (1, num_queries, 1 + num_patches, 0)).unsqueeze(1)  # (B, 1, 1+N+Q, 1+N+Q)
        if bias is None:
            bias = self.queries.new_zeros(())
        return bias.masked_fill(mask, float('-inf'))

    def init_weights(self) -> None:
        """Torch's default for every layer and a normal distribution for the queries, as EoMT does."""
        super().init_weights()
        nn.init.normal_(self.queries)
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                layer.reset_parameters()


def _upscale_layer(dim: int) -> nn.Sequential:
    """(B, C, h, w) -> (B, C, 2h, 2w)."""
    return nn.Sequential(
        nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2),
        nn.GELU(),
        nn.Conv2d(dim, dim, kernel_size=3, padding=1, groups=dim, bias=False),
        LayerNorm2d(dim, eps=1e-6),
    )


def _append_queries(bias: Tensor, entries: Tensor, num_queries: int) -> Tensor:
    """(1, num_heads, T, T) and five entries (5, num_heads) -> (1, num_heads, T+Q, T+Q)."""
    cls_to_query, patch_to_query, query_to_cls, query_to_patch, query_to_query = entries.unsqueeze(2)  # (heads, 1)
    num_patches = bias.shape[2] - 1
    to_query = torch.cat((cls_to_query, patch_to_query.expand(-1, num_patches)), dim=1)  # (heads, T)
    from_query = torch.cat(
        (query_to_cls, query_to_patch.expand(-1, num_patches), query_to_query.expand(-1, num_queries)), dim=1
    )  # (heads, T+Q)
    upper = torch.cat((bias[0], to_query.unsqueeze(2).expand(-1, -1, num_queries)), dim=2)  # (heads, T, T+Q)
    return torch.cat((upper, from_query.unsqueeze(1).expand(-1, num_queries, -1)), dim=1).unsqueeze(0)


@torch.no_grad()
def masked_attention_mask(masks: Tensor, grid: tuple[int, int], prob: float) -> Tensor | None:
    """The patches that a query must not attend to: those outside of the mask that it predicts.

    Args:
        masks: (B, Q, H, W), logits.
        grid: patch grid (h, w).
        prob: probability that a query is restricted to its mask.

    Returns:
        (B, Q, N) bool; None if ``prob`` is 0.
    """
    if prob == 0:
        return None
    outside = F.interpolate(masks.float(), size=grid, mode='bilinear').flatten(2) <= 0  # (B, Q, N)
    if prob < 1:
        outside &= torch.rand(*outside.shape[:2], 1, device=outside.device) <= prob
    return outside


def attn_mask_probs(query_blocks: int) -> list[float]:
    """Probability that a query is restricted to its mask now, for each block with queries.

    It is 1 at first and falls to 0 within a sixth of the training: in the first block after the first sixth, in the
    last one after the fourth, in those between at even distances (EoMT's code). The progress of the training comes from
    the runner's message hub, and so is the same after a resume; without a runner in training it is 0.
    """
    hub = MessageHub.get_current_instance()
    is_training = hub.get_info('loop_stage') == 'train'  # else it may be the hub of a run that has ended
    progress = hub.get_info('iter', 0) / hub.get_info('max_iters', 1) if is_training else 0.0
    starts = torch.linspace(1 / 6, 4 / 6, query_blocks, dtype=torch.float64, device='cpu').tolist()
    return [(1 - min(max(6 * (progress - start), 0.0), 1.0)) ** _ANNEALING_POWER for start in starts]
