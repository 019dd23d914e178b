"""The one ViT of this package: tokenizer encoder and decoder, pretraining, classification, segmentation.

Its parts are in ``layers/``. Parameter names are those of the BEiT v2 release (and timm), so a released file loads by
its prefix; ``checkpoints/`` knows file formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmbeitv2.backbones.base import (
    EMBEDDINGS,
    FinalNorm,
    ViTBackbone,
    freeze,
    resolve_grid,
    resolve_indices,
)
from mmbeitv2.errors import InputError, require_known
from mmbeitv2.layers import (
    Attention,
    Block,
    Context,
    InitRule,
    PatchEmbed,
    RelativePositionBias,
    RelativePositions,
    drop_path_rates,
    init_layers,
    rescale_blocks,
    to_map,
    trunc_normal,
)
from mmbeitv2.layers.positions import relative_position_index, resize_pos_embed, resize_relative_position_table
from mmbeitv2.registry import MODELS

# arch -> (embed_dims, depth, num_heads)
ARCH: dict[str, tuple[int, int, int]] = {
    'small': (384, 12, 6),  # paper, table 4 (VQ-KD with a ViT-S encoder); DeiT-S
    'base': (768, 12, 12),  # paper, table 9; ViT-B
    'large': (1024, 24, 16),  # paper, table 9; ViT-L
}

OutType = Literal['raw', 'featmap', 'cls_token', 'avg_featmap']
RelPosBias = Literal['none', 'shared', 'per_layer']


@MODELS.register_module()
class BEiTv2ViT(ViTBackbone):
    """Vision transformer of BEiT v2 (paper, section 2 and table 9); :class:`ViTBackbone` has its forward.

    Args:
        arch: ``'small'``, ``'base'``, ``'large'``, or a dict with ``embed_dims``, ``depth`` and ``num_heads``.
        img_size: side in pixels, or (height, width), of the images that the position parameters are made for. For
            images of another size, positions are resized in the forward by bicubic interpolation.
        patch_size: side of a patch in pixels.
        in_channels: channels of the input (32 for the tokenizer's decoder).
        out_indices: blocks whose output is returned, counted from 0; negative ones count from the last.
        out_type: form of each output. ``'raw'``: all tokens (B, 1+N, C); ``'featmap'``: patches (B, C, h, w);
            ``'cls_token'``: (B, C); ``'avg_featmap'``: mean of the patches (B, C).
        final_norm: what follows the last block. ``'norm'``: LayerNorm of every token; ``'fc_norm'``: LayerNorm of the
            output that ``out_type`` selects, so after the mean (fine-tuning), or of every token (tokenizer);
            ``'none'``: nothing (segmentation).
        use_abs_pos_emb: learned absolute position embedding.
        rel_pos_bias: relative position bias: ``'shared'`` by all blocks (pretraining), ``'per_layer'``, ``'none'``.
        use_mask_token: build ``mask_token``, so that the forward accepts a mask.
        layer_scale_init_value: initial layer scale; 0 builds none.
        mlp_ratio: hidden over embedding width in the MLP.
        drop_path_rate: stochastic depth of the last block, in [0, 1); grows linearly from 0.
        frozen_stages: number of blocks to freeze, counted from the input, including the patch embedding. -1: none;
            ``depth``: all, including the norm and the shared position bias.
        with_cp: activation checkpointing: recompute each block in the backward to save memory.
        init_rule: how the initial weights are drawn. ``'pretraining'``: from a normal distribution truncated at one
            standard deviation; ``'default'`` (tokenizer, fine-tuning): truncated so far out that it has no effect, with
            torch's default for the patch embedding.
        init_cfg: see mmengine; ``dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=...)`` loads any BEiT file.
    """

    def __init__(
        self,
        arch: str | dict = 'base',
        img_size: int | Sequence[int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        out_indices: int | Sequence[int] = -1,
        out_type: OutType = 'avg_featmap',
        final_norm: FinalNorm = 'norm',
        use_abs_pos_emb: bool = False,
        rel_pos_bias: RelPosBias = 'shared',
        use_mask_token: bool = False,
        layer_scale_init_value: float = 0.1,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_rule: InitRule = 'default',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed_dims, self.depth, self.num_heads = _resolve_arch(arch)
        self.patch_size, self.in_channels = patch_size, in_channels
        self.grid_size = resolve_grid(img_size, patch_size)
        require_known(('out_type', out_type, OutType), ('final_norm', final_norm, FinalNorm))
        require_known(('rel_pos_bias', rel_pos_bias, RelPosBias), ('init_rule', init_rule, InitRule))
        self.out_type, self.final_norm, self.rel_pos_bias_type = out_type, final_norm, rel_pos_bias
        self.out_indices = resolve_indices(out_indices, self.depth)
        self.frozen_stages, self.with_cp, self.init_rule = frozen_stages, with_cp, init_rule
        self.drop_path_rate = drop_path_rate
        self.block_settings = dict(mlp_ratio=mlp_ratio, layer_scale_init_value=layer_scale_init_value)

        dim, (h, w) = self.embed_dims, self.grid_size
        self.patch_embed = PatchEmbed(patch_size, in_channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim)) if use_mask_token else None
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + h * w, dim)) if use_abs_pos_emb else None
        self.rel_pos_bias = RelativePositionBias(self.grid_size, self.num_heads) if rel_pos_bias == 'shared' else None
        self.blocks = self._build_blocks(drop_path_rates(drop_path_rate, self.depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6) if final_norm == 'norm' else None
        self.fc_norm = nn.LayerNorm(dim, eps=1e-6) if final_norm == 'fc_norm' else None
        self._freeze_stages()

    def aggregation_blocks(self, depth: int) -> nn.ModuleList:
        """Blocks for the patch aggregation, as if they followed layer l, the first of two ``out_indices``.

        Their numbering continues from l, for drop path and for the rescaling of the initial weights. The release makes
        them after it has initialized everything else, so they keep torch's default but for the rescaling.

        Args:
            depth: number of blocks.

        Raises:
            InputError: if the backbone is not set up for pretraining with patch aggregation.
        """
        layer_l = self.require_aggregation()
        rates = drop_path_rates(self.drop_path_rate, max(self.depth, layer_l + depth))[layer_l : layer_l + depth]
        blocks = self._build_blocks(rates)
        rescale_blocks(blocks, first=layer_l + 1)
        return blocks

    def _build_blocks(self, drop_paths: list[float]) -> nn.ModuleList:
        grid_size = self.grid_size if self.rel_pos_bias_type == 'per_layer' else None
        return nn.ModuleList(
            Block(self.embed_dims, self.num_heads, drop_path=rate, grid_size=grid_size, **self.block_settings)
            for rate in drop_paths
        )

    def _embed(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, tuple[int, int], Context]:
        """Images (B, C, H, W) -> tokens (B, 1+N, C), CLS first, the grid (h, w), and the context of the blocks."""
        x, grid = self.patch_embed(x)  # (B, N, C)
        if mask is not None:
            x = self.mask_patches(x, mask)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        if self.pos_embed is not None:
            x = x + resize_pos_embed(self.pos_embed, self.grid_size, grid)
        return x, grid, self.position_context(grid)

    def position_context(self, grid: tuple[int, int]) -> Context:
        """What all blocks take beside the tokens: the bias that they share, or the positions for their own tables."""
        if self.rel_pos_bias_type == 'none':
            return None
        positions = RelativePositions(grid, relative_position_index(grid, self.cls_token.device))
        return positions if self.rel_pos_bias is None else self.rel_pos_bias(positions)

    def run_block(self, number: int, x: Tensor, context: Context, queries: Tensor | None = None) -> Tensor:
        """A block on all tokens (B, 1+N, C), see :class:`Block`."""
        return self.run(self.blocks[number], x, context, queries)

    @torch.no_grad()
    def resize_positions(self, grid: tuple[int, int]) -> None:
        """Resizes all position parameters in place to another patch grid (h, w), as the forward would for its images.

        Afterwards, the position bias of images of this grid depends on the parameters alone, as export needs it.
        """
        if self.pos_embed is not None:
            pos_embed = resize_pos_embed(self.pos_embed, self.grid_size, grid)
            self.pos_embed = nn.Parameter(pos_embed, requires_grad=self.pos_embed.requires_grad)
        for module in self.modules():
            if isinstance(module, (RelativePositionBias, Attention)) and module.grid_size is not None:
                table = module.relative_position_bias_table
                assert table is not None
                resized = resize_relative_position_table(table, module.grid_size, grid, method='bicubic')
                module.relative_position_bias_table = nn.Parameter(resized, requires_grad=table.requires_grad)
                module.grid_size = grid
        self.grid_size = grid

    def _format(self, x: Tensor, grid: tuple[int, int], is_last: bool) -> Tensor:
        if is_last and self.final_norm == 'norm':
            x = self.final_norm_of(x)
        if self.out_type == 'cls_token':
            x = x[:, 0]
        elif self.out_type == 'avg_featmap':
            x = x[:, 1:].mean(dim=1)
        elif self.out_type == 'featmap':
            x = x[:, 1:]
        if is_last and self.fc_norm is not None:
            x = self.fc_norm(x)
        return to_map(x, grid) if self.out_type == 'featmap' else x

    def init_weights(self) -> None:
        """Initializes the weights like the release, then loads ``init_cfg`` if there is one."""
        if not self.is_init:
            for token in (self.cls_token, self.mask_token, self.pos_embed):
                if token is not None:
                    trunc_normal(token, self.init_rule)
            init_layers(self, self.init_rule)
            rescale_blocks(self.blocks)
        super().init_weights()

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        frozen = [*(getattr(self, name, None) for name in EMBEDDINGS), *self.blocks[: self.frozen_stages]]
        if self.frozen_stages >= self.depth:  # before, blocks that are trained use the shared bias
            frozen += [self.rel_pos_bias, self.norm, self.fc_norm]
        freeze(frozen)


def _resolve_arch(arch: str | dict) -> tuple[int, int, int]:
    names = ('embed_dims', 'depth', 'num_heads')
    if isinstance(arch, dict) and set(arch) == set(names):
        return arch['embed_dims'], arch['depth'], arch['num_heads']
    if isinstance(arch, str) and arch in ARCH:
        return ARCH[arch]
    raise InputError(f'arch={arch!r} is unknown. Choose one of {", ".join(ARCH)}, or a dict of {", ".join(names)}.')
