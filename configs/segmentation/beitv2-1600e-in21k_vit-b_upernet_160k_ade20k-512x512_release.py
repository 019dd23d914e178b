# The recipe of the released weights after intermediate fine-tuning on ImageNet-21k (reference,
# upernet_beit_base_12_512_slide_160k_21ktoade20k.py): layer decay 0.85.
_base_ = [
    '../_base_/models/upernet_vit-b.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_runtime.py',
]
model = dict(
    backbone=dict(
        drop_path_rate=0.15, init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-b_ft-90e_in21k/epoch_90.pth')
    )
)
optim_wrapper = dict(optimizer=dict(lr=5e-5), paramwise_cfg=dict(layer_decay_rate=0.85))
