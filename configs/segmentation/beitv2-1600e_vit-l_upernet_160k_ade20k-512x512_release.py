# The recipe of the released weights (reference, upernet_beit_large_24_512_slide_160k_ade20k.py), outside of table 11:
# lr 4e-5, layer decay 0.9. Its layer scale of 1e-6 matters only from scratch, as a checkpoint brings its own.
_base_ = [
    '../_base_/models/upernet_vit-l.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(backbone=dict(layer_scale_init_value=1e-6))
optim_wrapper = dict(optimizer=dict(lr=4e-5), paramwise_cfg=dict(layer_decay_rate=0.9))
