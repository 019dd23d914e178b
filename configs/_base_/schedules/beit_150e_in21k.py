# BEiT (Bao et al. 2021), section 3.1, on ImageNet-21k (numbers of the reference's README).
_base_ = 'beitv2_adamw.py'
# By iterations, as the warm-up is given: 14,197,122 images are 6932 batches of 2048.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=10000),
    dict(type='CosineAnnealingLR', eta_min=1e-5, T_max=1029800, by_epoch=False, begin=10000, end=1039800),
]
train_cfg = dict(by_epoch=True, max_epochs=150)
