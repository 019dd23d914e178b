# As beitv2.py, of a small DINOv3 of timm: rotary positions and registers.
_base_ = [
    '../_base_/evidence/vqkd.py',
    '../_base_/evidence/pretraining.py',
]
model = dict(
    type='mmbeitv2.BEiTv2',
    backbone=dict(
        type='mmbeitv2.TimmViT',
        model='vit_small_patch16_dinov3',
        embed_dim=128,
        depth=6,
        num_heads=4,
        init_values=None,  # no layer scale
        img_size=48,
        patch_size=8,
        out_indices=(3, 5),  # layers l and L, counted from 0
        out_type='raw',
        use_mask_token=True,
    ),
    neck=dict(
        type='mmbeitv2.CLSAggregationNeck',
        depth=1,
        init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform'),
    ),
    head=dict(type='mmbeitv2.BEiTv2MIMHead'),
    tokenizer=_base_.vqkd,
    data_preprocessor=dict(type='mmbeitv2.BEiTv2DataPreprocessor'),
)
