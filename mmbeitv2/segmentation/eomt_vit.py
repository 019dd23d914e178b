"""The ViT with queries in its last blocks: mask decoding without a decoder (EoMT, Kerssies et al. 2025)."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from mmpretrain.models.utils import LayerNorm2d
from torch import Tensor, nn

from mmbeitv2.backbones import BEiTv2ViT, TimmViT
from mmbeitv2.backbones.base import ViTBackbone
from mmbeitv2.backbones.timm_vit import BlockArguments, set_prefix_tokens
from mmbeitv2.errors import InputError
from mmbeitv2.layers import Context, to_map
from mmbeitv2.registry import MODELS

# The probability of masked attention is what is left of a sixth of the training, raised to this power (EoMT's code).
_ANNEALING_POWER = 0.9


class MaskPrediction(NamedTuple):
    """What the queries say about the images at one depth of the network."""

    queries: Tensor  #: (B, Q, C), after the final norm
    masks: Tensor  #: (B, Q, H, W), logits


class QueryViT(ViTBackbone):
    """What backbones with queries have in common; :class:`EoMTViT` explains the settings."""

    blocks: Any
    num_heads: int
    run_query_block: Any
    copies = ('query_layers.',)  #: weights that are copied once the others are loaded

    def __init__(
        self,
        num_queries: int = 100,
        query_blocks: int = 3,
        num_upscales: int = 2,
        frozen_encoder: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.final_norm != 'norm':
            raise InputError(f"final_norm={self.final_norm!r} does not fit {type(self).__name__}. Set it to 'norm'.")
        if not 1 <= query_blocks <= self.depth:
            raise InputError(
                f'query_blocks={query_blocks} does not fit a backbone of {self.depth} blocks. Choose from 1 to '
                f'{self.depth}.'
            )
        has_bias = getattr(self, 'rel_pos_bias_type', 'none') != 'none'
        bias_shape = (query_blocks, self.num_heads) if has_bias else None
        self.query_blocks = query_blocks
        self.mask_module = MaskModule(self.embed_dims, num_queries, num_upscales, bias_shape)
        self.query_layers: nn.ModuleDict | None = None
        if frozen_encoder:
            layers = nn.ModuleDict({'blocks': self.blocks[-query_blocks:], 'norm': self.norm})
            self.query_layers = copy.deepcopy(layers).requires_grad_(True)
            self.frozen_stages = self.depth
            self._freeze_stages()

    def init_weights(self) -> None:
        """As the backbone; the copies of a frozen encoder are those of the weights that ``init_cfg`` loads."""
        super().init_weights()
        if self.query_layers is not None:
            self.query_layers['blocks'].load_state_dict(self.blocks[-self.query_blocks :].state_dict())
            self.query_layers['norm'].load_state_dict(self.norm.state_dict())

    def forward(self, images: Tensor) -> tuple[MaskPrediction, ...]:  # type: ignore[override]  # it gives a prediction, no features
        """Predicts masks.

        Args:
            images: (B, C, H, W), H and W at least one patch.

        Returns:
            The predictions after the last block; in training, those before each block with queries come first.
        """
        x, grid, context = self._embed(images, None)  # (B, prefix+N, C)
        for i in range(self.depth - self.query_blocks):
            x = self.run_block(i, x, context)
        x = torch.cat((self.mask_module.queries.expand(x.shape[0], -1, -1), x), dim=1)  # (B, Q+prefix+N, C)
        predictions = []
        for i, prob in enumerate(attn_mask_probs(self.query_blocks)):
            mask = None
            if self.training:
                predictions.append(self._predict(x, grid))
                mask = masked_attention_mask(predictions[-1].masks, grid, prob)
            x = self.run_query_block(i, x, context, mask)
        predictions.append(self._predict(x, grid))
        return tuple(predictions)

    def _predict(self, x: Tensor, grid: tuple[int, int]) -> MaskPrediction:
        x = (self.norm if self.query_layers is None else self.query_layers['norm'])(x)
        queries, patches = x[:, : len(self.mask_module.queries)], x[:, -grid[0] * grid[1] :]
        return MaskPrediction(queries, self.mask_module(queries, to_map(patches, grid)))

    def query_block(self, number: int) -> Any:
        """A block that the queries pass through, counted from the first of these."""
        blocks: Any = self.blocks[-self.query_blocks :] if self.query_layers is None else self.query_layers['blocks']
        return blocks[number]


@MODELS.register_module()
class EoMTViT(QueryViT, BEiTv2ViT):
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
        frozen_encoder: freeze the whole ViT, so that several tasks can share it. The queries then pass through copies
            of the last blocks and of the final norm, which start from the pretrained weights and are trained (after
            PMT, Cavagnero et al. 2026, whose decoder has new blocks).
        kwargs: see :class:`BEiTv2ViT`. Predictions are made after its final norm, so ``final_norm`` must be ``'norm'``.
            ``out_indices`` and ``out_type`` have no effect.
    """

    def run_query_block(self, number: int, x: Tensor, context: Context, mask: Tensor | None) -> Tensor:
        """A block, counted from the first with queries, on queries, CLS and patches (B, Q+1+N, C)."""
        block = self.query_block(number)
        bias = block.attn.position_bias(context)
        return self.run(block, x, self.mask_module.join_bias(bias, number, mask))


@MODELS.register_module()
class EoMTTimmViT(QueryViT, TimmViT):
    """The same with a :class:`TimmViT`. Queries have no position, like the other tokens in front of the patches.

    Args:
        kwargs: those of :class:`EoMTViT`, and of :class:`TimmViT` in place of :class:`BEiTv2ViT`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for number in range(self.query_blocks):
            set_prefix_tokens(self.query_block(number), len(self.mask_module.queries) + self.vit.num_prefix_tokens)

    def run_query_block(self, number: int, x: Tensor, context: BlockArguments, mask: Tensor | None) -> Tensor:
        """A block, counted from the first with queries, on queries, prefix tokens and patches (B, Q+prefix+N, C)."""
        bias = self.mask_module.join_bias(None, number, mask, self.vit.num_prefix_tokens)
        arguments = context[self.depth - self.query_blocks + number]
        arguments = arguments if bias is None else {**arguments, 'attn_mask': bias}
        return self.run(self.query_block(number), x, **arguments)


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

    def join_bias(self, bias: Tensor | None, block: int, mask: Tensor | None, num_prefix: int = 1) -> Tensor | None:
        """The position bias of queries, prefix tokens and patches.

        Args:
            bias: (1, num_heads, 1+N, 1+N), that of CLS and patches, or None.
            block: number of the block, counted from the first with queries.
            mask: (B, Q, N) bool, true where the query must not attend to the patch; None for no restriction.
            num_prefix: number of prefix tokens: CLS and registers.

        Returns:
            (1 or B, num_heads or 1, T, T) with T = Q + prefix + N, or None.
        """
        num_queries = len(self.queries)
        if self.query_bias is not None:
            assert bias is not None  # both exist, or none does
            bias = _prepend_queries(bias, self.query_bias[block], num_queries)
        if mask is None:
            return bias
        not_queries = num_prefix + mask.shape[2]
        mask = F.pad(mask, (num_queries + num_prefix, 0, 0, not_queries)).unsqueeze(1)  # (B, 1, T, T)
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


def _prepend_queries(bias: Tensor, entries: Tensor, num_queries: int) -> Tensor:
    """(1, num_heads, T, T) and five entries (5, num_heads) -> (1, num_heads, Q+T, Q+T)."""
    cls_to_query, patch_to_query, query_to_cls, query_to_patch, query_to_query = entries.unsqueeze(2)  # (heads, 1)
    num_patches = bias.shape[2] - 1
    to_query = torch.cat((cls_to_query, patch_to_query.expand(-1, num_patches)), dim=1)  # (heads, T)
    from_query = torch.cat(
        (query_to_query.expand(-1, num_queries), query_to_cls, query_to_patch.expand(-1, num_patches)), dim=1
    )  # (heads, Q+T)
    lower = torch.cat((to_query.unsqueeze(2).expand(-1, -1, num_queries), bias[0]), dim=2)  # (heads, T, Q+T)
    return torch.cat((from_query.unsqueeze(1).expand(-1, num_queries, -1), lower), dim=1).unsqueeze(0)


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
    starts = np.linspace(1 / 6, 4 / 6, query_blocks).tolist()
    return [(1 - min(max(6 * (progress - start), 0.0), 1.0)) ** _ANNEALING_POWER for start in starts]
