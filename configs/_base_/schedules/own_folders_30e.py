# Ours, not tuned: table 10 in 30 epochs, at its rate, 5e-4 for a batch of 1024, for a batch of 128.
_base_ = 'finetuning_100e.py'
optim_wrapper = dict(optimizer=dict(lr=6.25e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=2e-3, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=2e-3,
        T_max=25,
        by_epoch=True,
        begin=5,
        end=30,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=30)
