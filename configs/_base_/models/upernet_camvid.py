# UperNet (paper, table 11) on the ViT of configs/camvid/pretrain.py; features of strides 8 to 64.
_base_ = 'upernet.py'
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        type='mmbeitv2.BEiTv2ViT',
        arch=dict(embed_dims=128, depth=4, num_heads=4),
        img_size=128,
        patch_size=16,
        out_indices=(0, 1, 2, 3),
        out_type='featmap',
        final_norm='none',
        rel_pos_bias='per_layer',
        layer_scale_init_value=0,
        drop_path_rate=0.1,
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint='work_dirs/camvid/pretrain/iter_200.pth'),
    ),
    neck=dict(embed_dim=128, rescales=[2, 1, 0.5, 0.25]),
    decode_head=dict(in_channels=[128] * 4, channels=64, num_classes=11),
    auxiliary_head=dict(in_channels=128, channels=64, num_classes=11),
    test_cfg=dict(crop_size=(128, 128), stride=(112, 112)),
)
