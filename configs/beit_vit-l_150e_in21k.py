# BEiT (Bao et al. 2021), section 3.1: ViT-L on ImageNet-21k, 150 epochs (numbers of the reference's README).
_base_ = 'beit_vit-b_150e_in21k.py'
model = dict(
    backbone=dict(arch='large', out_indices=(23,), layer_scale_init_value=1e-5),
    head=dict(embed_dims=1024),
)
