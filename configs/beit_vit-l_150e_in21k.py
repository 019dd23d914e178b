# BEiT (Bao et al. 2021), section 3.1: ViT-L on ImageNet-21k, 150 epochs (numbers of the reference's README).
_base_ = [
    '_base_/models/beit_vit-b.py',
    '_base_/datasets/beit_pretraining.py',
    '_base_/schedules/beit_150e_in21k.py',
    '_base_/default_runtime.py',
]
model = dict(
    backbone=dict(arch='large', out_indices=(23,), layer_scale_init_value=1e-5),
    head=dict(embed_dims=1024),
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
)
train_dataloader = dict(dataset=dict(data_root='data/imagenet21k'))
