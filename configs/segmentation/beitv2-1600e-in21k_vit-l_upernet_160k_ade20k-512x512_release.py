# The recipe of the released weights after intermediate fine-tuning on ImageNet-21k (reference,
# upernet_beit_large_24_512_slide_160k_21ktoade20k.py): lr 3e-5.
_base_ = 'beitv2-1600e_vit-l_upernet_160k_ade20k-512x512.py'
model = dict(
    backbone=dict(
        layer_scale_init_value=1e-6, init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-l_ft-90e_in21k/epoch_90.pth')
    )
)
optim_wrapper = dict(optimizer=dict(lr=3e-5), paramwise_cfg=dict(layer_decay_rate=0.9))
