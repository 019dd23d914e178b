# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k, ViT-B (numbers of the reference's README).
_base_ = 'beitv2-1600e_vit-b_ft-100e_in1k.py'
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beit_vit-b_150e_in21k/epoch_150.pth')))
optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=2.5e-4, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=2.5e-4,
        T_max=80,
        by_epoch=True,
        begin=20,
        end=100,
        convert_to_iter_based=True,
    ),
]
