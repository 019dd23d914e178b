# Fine-tuning on ImageNet-1k after ImageNet-21k, ViT-B, without mixing images (numbers of the reference's README).
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-b_ft-90e_in21k/epoch_90.pth')),
    train_cfg=dict(augments=None),
)
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
