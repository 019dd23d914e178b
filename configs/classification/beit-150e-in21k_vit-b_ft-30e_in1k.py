# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k after ImageNet-21k, ViT-B (numbers of the reference's README);
# batch 512 on 8 GPUs.
_base_ = [
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/finetuning_100e.py',
    '../_base_/classification_runtime.py',
]
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/beit-150e_vit-b_ft-90e_in21k/epoch_90.pth')),
    train_cfg=dict(augments=None),
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=2e-05, weight_decay=1e-08), paramwise_cfg=dict(layer_decay_rate=0.85))
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
auto_scale_lr = dict(base_batch_size=512)
