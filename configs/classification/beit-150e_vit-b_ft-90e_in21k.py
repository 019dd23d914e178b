# BEiT (Bao et al. 2021), intermediate fine-tuning on ImageNet-21k, ViT-B (numbers of the reference's README);
# batch 4096 on 32 GPUs.
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet21k_finetuning.py',
    '../_base_/schedules/finetuning_90e_in21k.py',
    '../_base_/classification_runtime.py',
]
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(
    backbone=dict(drop_path_rate=0.2, init_cfg=dict(checkpoint='work_dirs/beit_vit-b_150e_in21k/epoch_150.pth')),
    head=dict(num_classes=21841),
)
optim_wrapper = dict(optimizer=dict(lr=3e-3), paramwise_cfg=dict(layer_decay_rate=0.65), clip_grad=dict(max_norm=3.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.000333333, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.000333333,
        T_max=85,
        by_epoch=True,
        begin=5,
        end=90,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(save_best=None))
