# The recipe of the released weights after intermediate fine-tuning on ImageNet-21k (reference,
# upernet_beit_large_24_512_slide_160k_21ktoade20k.py): lr 3e-5.
_base_ = [
    '../_base_/models/upernet_vit-l.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(
    backbone=dict(
        layer_scale_init_value=1e-6, init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-l_ft-90e_in21k/epoch_90.pth')
    )
)
optim_wrapper = dict(optimizer=dict(lr=3e-5), paramwise_cfg=dict(layer_decay_rate=0.9))
