# Paper, table 11, ViT-L, at BEiT's 640x640 as its ViT-B: neither paper nor release trains BEiT v2 at this size.
_base_ = 'beitv2-1600e_vit-b_upernet_160k_ade20k-640x640.py'
model = dict(
    backbone=dict(
        arch='large',
        out_indices=(7, 11, 15, 23),
        layer_scale_init_value=1e-5,
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='work_dirs/beitv2_vit-l_1600e/epoch_1600.pth'),
    ),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024),
)
