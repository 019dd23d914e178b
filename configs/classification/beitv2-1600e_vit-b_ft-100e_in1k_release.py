# The recipe of the released weights where it differs from table 10: layer decay 0.6, drop path 0.2 (reference, README).
_base_ = 'beitv2-1600e_vit-b_ft-100e_in1k.py'
model = dict(backbone=dict(drop_path_rate=0.2))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.6))
