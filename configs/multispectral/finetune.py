# Fine-tuning (paper, table 10) on six bands: the class is what an object is made of, which no visible band shows.
_base_ = ['../quickstart/finetune.py', '../_base_/datasets/multispectral.py']
model = dict(
    backbone=dict(in_channels=6, init_cfg=dict(checkpoint='work_dirs/multispectral/pretrain/epoch_7.pth')),
    head=dict(num_classes=9),
)
data_preprocessor = dict(num_classes=9, mean=_base_.channel_mean, std=_base_.channel_std, to_rgb=False)
resize = dict(type='mmbeitv2.FitImage', scale=56, fit='stretch')
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    _base_.load_channels,
    resize,
    dict(type='RandomCrop', crop_size=48),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [_base_.load_channels, resize, dict(type='CenterCrop', crop_size=48), dict(type='PackInputs')]
data_root = 'work_dirs/multispectral/data'
files = dict(data_root=data_root, extensions=('.npy',))
train_dataloader = dict(dataset=dict(ann_file='', pipeline=train_pipeline, **files))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline, **files))
