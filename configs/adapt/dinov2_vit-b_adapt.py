# As dinov3_vit-b_adapt.py, from timm's DINOv2 ViT-B/14 with registers. Of 16x16 patches, 98 are masked.
_base_ = [
    '../_base_/models/dinov3_vit-b.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
name = 'vit_base_patch14_reg4_dinov2.lvd142m'
model = dict(
    backbone=dict(model=name),
    tokenizer=dict(
        teacher=dict(model=name),
        patch_size=14,
        init_cfg=dict(checkpoint='work_dirs/dinov2_vit-b_kmeans/epoch_1.pth'),
    ),
)
train_pipeline = [
    *_base_.crop_and_jitter,
    dict(type='mmbeitv2.BlockMaskGenerator', grid_size=16, num_masked=98, min_block=16),
    _base_.pack,
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
