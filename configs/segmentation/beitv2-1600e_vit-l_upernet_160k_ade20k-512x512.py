# Paper, table 11, ViT-L: UperNet on ADE20K, 512x512, 160k iterations; the middle of the searched rates and decays.
_base_ = [
    '../_base_/models/upernet_vit-b.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
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
