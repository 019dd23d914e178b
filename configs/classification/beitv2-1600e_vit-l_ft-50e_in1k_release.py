# The recipe of the released weights where it differs from table 10: lr 2e-4 (reference, README).
_base_ = [
    '../_base_/models/classifier_vit-l.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_50e.py',
    '../_base_/classification_runtime.py',
]
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
