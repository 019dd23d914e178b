# The recipe of the released weights (reference, upernet_beit_base_12_512_slide_160k_ade20k.py), within table 11:
# lr 5e-5, layer decay 0.75, drop path 0.15.
_base_ = [
    '../_base_/models/upernet_vit-b.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(backbone=dict(drop_path_rate=0.15))
optim_wrapper = dict(optimizer=dict(lr=5e-5), paramwise_cfg=dict(layer_decay_rate=0.75))
