# DINOv2's linear evaluation (Oquab et al. 2023, section 7.4; its ADE20K linear config) on a frozen ViT-L.
_base_ = [
    '../_base_/models/linear_vit-b.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/linear_40k.py',
    '../_base_/segmentation_runtime.py',
]
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
default_hooks = dict(checkpoint=dict(interval=4000))
