# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k, ViT-B (numbers of the reference's README).
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_100e.py',
    '../_base_/classification_runtime.py',
]
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(backbone=dict(init_cfg=dict(checkpoint='work_dirs/beit_vit-b_150e_in21k/epoch_150.pth')))
optim_wrapper = dict(optimizer=dict(lr=0.004))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.00025, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.00025,
        T_max=80,
        by_epoch=True,
        begin=20,
        end=100,
        convert_to_iter_based=True,
    ),
]
