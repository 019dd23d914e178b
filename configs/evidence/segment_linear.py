# As segment.py, by batch norm and one linear layer on the frozen patches of the last block.
_base_ = [
    '../_base_/models/linear_vit-b.py',
    '../_base_/evidence/segmentation.py',
]
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        arch=dict(embed_dims=128, depth=6, num_heads=4),
        img_size=128,
        patch_size=8,
        out_indices=(5,),
        layer_scale_init_value=0,
        frozen_stages=6,
        init_cfg=dict(checkpoint='work_dirs/evidence/cpu/beitv2/full/pretrain/iter_2000.pth'),
    ),
    neck=dict(in_channels=[128]),
    decode_head=dict(in_channels=128, channels=128, num_classes=11),
    test_cfg=dict(crop_size=(128, 128), stride=(112, 112)),
)
