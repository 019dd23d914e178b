# The recipe of the released weights, which differs from table 11: lr 4e-5, layer decay 0.9 (reference, config).
_base_ = 'beitv2-1600e_vit-l_upernet_160k_ade20k-512x512.py'
optim_wrapper = dict(optimizer=dict(lr=4e-5), paramwise_cfg=dict(layer_decay_rate=0.9))
