# As dinov3_vit-b_adapt.py, from timm's DINOv3 ViT-L/16.
_base_ = [
    '../_base_/models/dinov3_vit-b.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
name = 'vit_large_patch16_dinov3.lvd1689m'
model = dict(
    backbone=dict(model=name, out_indices=(20, 23)),
    tokenizer=dict(
        teacher=dict(model=name),
        init_cfg=dict(checkpoint='work_dirs/dinov3_vit-l_kmeans/epoch_1.pth'),
    ),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
