# Paper, table 11, ViT-L.
_base_ = 'upernet.py'
model = dict(
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch='large',
        img_size=512,
        patch_size=16,
        out_indices=(7, 11, 15, 23),
        out_type='featmap',
        final_norm='none',
        rel_pos_bias='per_layer',
        layer_scale_init_value=1e-5,
        drop_path_rate=0.2,
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/beitv2_vit-l_1600e/epoch_1600.pth'),
    ),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024),
)
