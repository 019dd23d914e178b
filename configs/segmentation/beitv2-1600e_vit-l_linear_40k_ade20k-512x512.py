# DINOv2's linear evaluation (Oquab et al. 2023, section 7.4; its ADE20K linear config) on a frozen ViT-L.
_base_ = 'beitv2-1600e_vit-b_linear_40k_ade20k-512x512.py'
model = dict(
    backbone=dict(
        arch='large',
        out_indices=(23,),
        layer_scale_init_value=1e-5,
        frozen_stages=24,
        init_cfg=dict(checkpoint='work_dirs/beitv2_vit-l_1600e/epoch_1600.pth'),
    ),
    neck=dict(in_channels=[1024]),
    decode_head=dict(in_channels=1024, channels=1024),
)
