# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k after ImageNet-21k, ViT-B (numbers of the reference's README).
_base_ = 'finetuning_100e.py'
optim_wrapper = dict(optimizer=dict(lr=2e-5, weight_decay=1e-8), paramwise_cfg=dict(layer_decay_rate=0.85))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.05,
        T_max=25,
        by_epoch=True,
        begin=5,
        end=30,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=30)
