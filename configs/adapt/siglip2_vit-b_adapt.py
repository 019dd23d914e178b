# As dinov3_vit-b_adapt.py, from timm's SigLIP 2 ViT-B/16. It has no CLS token and gets one.
_base_ = [
    '../_base_/models/dinov3_vit-b.py',
    '../_base_/datasets/own_images.py',
    '../_base_/schedules/adapt_10k.py',
    '../_base_/iterations_runtime.py',
]
name = 'vit_base_patch16_siglip_224.v2_webli'
model = dict(
    backbone=dict(model=name, use_cls_token=True),
    tokenizer=dict(
        teacher=dict(model=name),
        init_cfg=dict(checkpoint='work_dirs/siglip2_vit-b_kmeans/epoch_1.pth'),
    ),
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
)
