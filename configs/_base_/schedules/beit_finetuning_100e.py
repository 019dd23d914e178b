# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k, ViT-B (numbers of the reference's README).
_base_ = 'finetuning_100e.py'
optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.00025, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.00025,
        T_max=80,
        by_epoch=True,
        begin=20,
        end=100,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=100)
