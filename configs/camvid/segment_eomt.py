# segment.py with a mask decoder (EoMT) in place of UperNet: 30 queries in the last two of the four blocks.
_base_ = [
    '../_base_/models/eomt_vit-b.py',
    '../_base_/camvid_segmentation.py',
]
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        arch=dict(embed_dims=128, depth=4, num_heads=4),
        img_size=128,
        num_queries=30,
        query_blocks=2,
        out_indices=(0, 1, 2, 3),
        layer_scale_init_value=0,
        init_cfg=dict(checkpoint='work_dirs/camvid/pretrain/iter_200.pth'),
    ),
    decode_head=dict(in_channels=128, num_classes=11, num_points=1600),
    test_cfg=dict(crop_size=(128, 128), stride=(112, 112)),
)
optim_wrapper = dict(clip_grad=dict(max_norm=0.01, norm_type=2))
