# BEiT (Bao et al. 2021): the network of the released beit_base_patch16_224_pt1k_800ep, with absolute positions and
# neither relative position bias nor layer scale (reference, README).
_base_ = 'beit_vit-b_300e.py'
model = dict(backbone=dict(rel_pos_bias='none', layer_scale_init_value=0.0, use_abs_pos_emb=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, T_max=790, by_epoch=True, begin=10, end=800, convert_to_iter_based=True
    ),
]
train_cfg = dict(max_epochs=800)
