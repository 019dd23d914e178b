# Paper, table 11, ViT-B.
_base_ = 'upernet.py'
model = dict(
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=768, depth=12, num_heads=12),
        img_size=512,
        patch_size=16,
        out_indices=(3, 5, 7, 11),
        out_type='featmap',
        final_norm='none',
        rel_pos_bias='per_layer',
        layer_scale_init_value=0.1,
        drop_path_rate=0.1,
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/beitv2_vit-b_1600e/epoch_1600.pth'),
    ),
)
