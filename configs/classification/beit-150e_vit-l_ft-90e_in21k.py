# BEiT (Bao et al. 2021), intermediate fine-tuning on ImageNet-21k, ViT-L (numbers of the reference's README);
# batch 2048 on 32 GPUs.
_base_ = [
    '../_base_/models/classifier_vit-l.py',
    '../_base_/datasets/imagenet21k_finetuning.py',
    '../_base_/schedules/finetuning_90e_in21k.py',
    '../_base_/classification_runtime.py',
]
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/beit_vit-l_150e_in21k/epoch_150.pth')),
    head=dict(num_classes=21841),
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.002), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.0005, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.0005,
        T_max=85,
        by_epoch=True,
        begin=5,
        end=90,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(save_best=None))
auto_scale_lr = dict(base_batch_size=2048)
