# The recipe of the released weights (reference, upernet_beit_large_24_512_slide_160k_ade20k.py), outside of table 11:
# lr 4e-5, layer decay 0.9. Its layer scale of 1e-6 matters only from scratch, as a checkpoint brings its own.
_base_ = 'beitv2-1600e_vit-l_upernet_160k_ade20k-512x512.py'
model = dict(backbone=dict(layer_scale_init_value=1e-6))
optim_wrapper = dict(optimizer=dict(lr=4e-5), paramwise_cfg=dict(layer_decay_rate=0.9))
