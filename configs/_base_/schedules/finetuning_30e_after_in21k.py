# Fine-tuning on ImageNet-1k after ImageNet-21k, ViT-B (numbers of the reference's README).
_base_ = 'finetuning_100e.py'
optim_wrapper = dict(optimizer=dict(lr=5e-5), paramwise_cfg=dict(layer_decay_rate=0.75))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.02,
        T_max=10,
        by_epoch=True,
        begin=20,
        end=30,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=30)
