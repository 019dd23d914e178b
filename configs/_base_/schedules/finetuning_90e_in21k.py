# Intermediate fine-tuning on ImageNet-21k (paper, section 3.2; numbers of the reference's README).
_base_ = 'finetuning_100e.py'
optim_wrapper = dict(optimizer=dict(lr=6e-4), paramwise_cfg=dict(layer_decay_rate=0.75))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.00166667, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.00166667,
        T_max=70,
        by_epoch=True,
        begin=20,
        end=90,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=90)
val_cfg = None
