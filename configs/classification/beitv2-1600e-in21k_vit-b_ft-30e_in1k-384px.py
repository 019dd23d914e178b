# Paper, table 7, ViT-B at 384x384 after ImageNet-21k (87.5 %). Its recipe is not published: as at 224x224.
_base_ = 'beitv2-1600e-in21k_vit-b_ft-30e_in1k.py'
model = dict(backbone=dict(img_size=384))
train_pipeline = [*_base_.load, dict(type='mmbeitv2.RandomResizedCrop', scale=384), *_base_.augment]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmbeitv2'),
    dict(type='mmbeitv2.FitImage', scale=384),
    dict(type='CenterCrop', crop_size=384),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
