# BEiT (Bao et al. 2021), section 3.1: ViT-L on ImageNet-21k, 150 epochs (numbers of the reference's README).
_base_ = 'beit_vit-b_300e.py'
model = dict(
    backbone=dict(arch='large', out_indices=(23,), layer_scale_init_value=1e-5),
    head=dict(embed_dims=1024),
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
)
train_dataloader = dict(dataset=dict(data_root='data/imagenet21k'))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=10000),
    dict(type='CosineAnnealingLR', eta_min=1e-5, T_max=1029800, by_epoch=False, begin=10000, end=1039800),
]
train_cfg = dict(max_epochs=150)
