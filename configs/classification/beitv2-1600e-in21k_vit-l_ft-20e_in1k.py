# Fine-tuning on ImageNet-1k after ImageNet-21k, ViT-L, without mixing images (numbers of the reference's README).
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_100e.py',
    '../_base_/classification_runtime.py',
]
model = dict(
    backbone=dict(
        arch='large',
        layer_scale_init_value=1e-5,
        drop_path_rate=0.25,
        init_cfg=dict(checkpoint='work_dirs/beitv2-1600e_vit-l_ft-90e_in21k/epoch_90.pth'),
    ),
    head=dict(in_channels=1024),
    train_cfg=dict(augments=None),
)
optim_wrapper = dict(optimizer=dict(lr=7e-5), paramwise_cfg=dict(layer_decay_rate=0.8))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.0142857, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.0142857,
        T_max=15,
        by_epoch=True,
        begin=5,
        end=20,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=20)
