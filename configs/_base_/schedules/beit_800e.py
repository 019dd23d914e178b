# BEiT (Bao et al. 2021), table 10.
_base_ = 'beitv2_adamw.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, T_max=790, by_epoch=True, begin=10, end=800, convert_to_iter_based=True
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=800)
