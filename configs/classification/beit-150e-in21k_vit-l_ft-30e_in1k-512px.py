# BEiT (Bao et al. 2021), fine-tuning on ImageNet-1k at 512x512 (reference, README and --input_size).
_base_ = [
    '../_base_/models/classifier_vit-l.py',
    '../_base_/datasets/imagenet_finetuning.py',
    '../_base_/schedules/beit_finetuning_30e_after_in21k.py',
    '../_base_/classification_runtime.py',
]
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
model = dict(
    backbone=dict(
        img_size=512,
        drop_path_rate=0.4,
        init_cfg=dict(checkpoint='work_dirs/beit-150e_vit-l_ft-90e_in21k/epoch_90.pth'),
    ),
    train_cfg=dict(augments=None),
)
train_pipeline = [*_base_.load, dict(type='mmbeitv2.RandomResizedCrop', scale=512), *_base_.augment]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmbeitv2'),
    dict(type='mmbeitv2.FitImage', scale=512),
    dict(type='CenterCrop', crop_size=512),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
auto_scale_lr = dict(base_batch_size=512)
