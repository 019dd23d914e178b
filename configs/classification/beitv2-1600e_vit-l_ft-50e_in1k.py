# Paper, table 10, ViT-L: fine-tuning on ImageNet-1k, 50 epochs.
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
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='work_dirs/beitv2_vit-l_1600e/epoch_1600.pth'),
    ),
    head=dict(in_channels=1024),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.002, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.002,
        T_max=45,
        by_epoch=True,
        begin=5,
        end=50,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=50)
