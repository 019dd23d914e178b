# UperNet (paper, table 11) of width 64 on features of strides 4 to 32 of a small ViT, which the inheriting config sets.
_base_ = '../models/upernet.py'
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    neck=dict(embed_dim=128, rescales=[2, 1, 0.5, 0.25]),
    decode_head=dict(in_channels=[128] * 4, channels=64, num_classes=11),
    auxiliary_head=dict(in_channels=128, channels=64, num_classes=11),
    test_cfg=dict(crop_size=(128, 128), stride=(112, 112)),
)
