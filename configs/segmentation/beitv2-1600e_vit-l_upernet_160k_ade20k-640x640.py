# Paper, table 11, ViT-L, at BEiT's 640x640 as its ViT-B: neither paper nor release trains BEiT v2 at this size.
_base_ = [
    '../_base_/models/upernet_vit-b.py',
    '../_base_/datasets/ade20k_640x640.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(
        arch='large',
        img_size=640,
        out_indices=(7, 11, 15, 23),
        layer_scale_init_value=1e-5,
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='work_dirs/beitv2_vit-l_1600e/epoch_1600.pth'),
    ),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024),
    test_cfg=dict(crop_size=(640, 640), stride=(426, 426)),
)
