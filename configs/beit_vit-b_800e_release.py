# BEiT (Bao et al. 2021): the network of the released beit_base_patch16_224_pt1k_800ep, with absolute positions and
# neither relative position bias nor layer scale (reference, README).
_base_ = 'beit_vit-b_800e.py'
model = dict(backbone=dict(use_abs_pos_emb=True, rel_pos_bias='none', layer_scale_init_value=0.0))
