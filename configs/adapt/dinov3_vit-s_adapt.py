# As dinov3_vit-b_adapt.py, from timm's DINOv3 ViT-S/16.
_base_ = [
    '../_base_/models/dinov3_vit-b.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
name = 'vit_small_patch16_dinov3.lvd1689m'
model = dict(
    backbone=dict(model=name),
    tokenizer=dict(
        teacher=dict(model=name),
        init_cfg=dict(checkpoint='work_dirs/dinov3_vit-s_kmeans/epoch_1.pth'),
    ),
)
