# ImageNet-1k for a linear probe: crops and flips.
_base_ = 'finetuning.py'
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    dataset=dict(type='ImageNet', data_root='data/imagenet', split='train', pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(type='ImageNet', data_root='data/imagenet', split='val'))
test_dataloader = val_dataloader
