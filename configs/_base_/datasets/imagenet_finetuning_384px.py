# ImageNet-1k at 384x384 (reference, --input_size).
_base_ = 'finetuning.py'
train_pipeline = [*_base_.load, dict(type='mmbeitv2.RandomResizedCrop', scale=384), *_base_.augment]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmbeitv2'),
    dict(type='mmbeitv2.FitImage', scale=384),
    dict(type='CenterCrop', crop_size=384),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    dataset=dict(type='ImageNet', data_root='data/imagenet', split='train', pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(type='ImageNet', data_root='data/imagenet', split='val', pipeline=test_pipeline))
test_dataloader = val_dataloader
