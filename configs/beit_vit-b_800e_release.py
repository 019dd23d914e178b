# BEiT (Bao et al. 2021): the network of the released beit_base_patch16_224_pt1k_800ep, with absolute positions and
# neither relative position bias nor layer scale (reference, README).
_base_ = [
    '_base_/models/beit_vit-b.py',
    '_base_/datasets/beit_pretraining.py',
    '_base_/schedules/beit_800e.py',
    '_base_/default_runtime.py',
]
model = dict(backbone=dict(rel_pos_bias='none', layer_scale_init_value=0.0, use_abs_pos_emb=True))
