# The recipe of the released weights where it differs from table 10: lr 2e-4 (reference, README).
_base_ = 'beitv2-1600e_vit-l_ft-50e_in1k.py'
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.005, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.005,
        T_max=45,
        by_epoch=True,
        begin=5,
        end=50,
        convert_to_iter_based=True,
    ),
]
