# As segment.py by a mask decoder on the frozen ViT: 30 queries in trained copies of its last two blocks.
_base_ = [
    '../_base_/models/eomt_vit-b.py',
    '../_base_/evidence/segmentation.py',
]
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        arch=dict(embed_dims=128, depth=6, num_heads=4),
        img_size=128,
        patch_size=8,
        num_queries=30,
        query_blocks=2,
        num_upscales=1,
        out_indices=(1, 2, 3, 5),
        layer_scale_init_value=0,
        frozen_encoder=True,
        init_cfg=dict(checkpoint='work_dirs/evidence/cpu/beitv2/full/pretrain/iter_2000.pth'),
    ),
    decode_head=dict(in_channels=128, num_classes=11, num_points=1024),
    test_cfg=dict(crop_size=(128, 128), stride=(112, 112)),
)
optim_wrapper = dict(clip_grad=dict(max_norm=0.01))  # EoMT's recipe
