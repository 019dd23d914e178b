# CIFAR-10 at 48x48 pixels; scored once, by tools/test.py.
_base_ = 'imagenet_tokenizer.py'
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.08, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
val_pipeline = [
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
    dict(type='PackInputs'),
]
data_root = 'data/cifar10'
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    sampler=dict(type='mmbeitv2.SeededInfiniteSampler'),
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
test_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=val_pipeline))
val_dataloader = None
auto_scale_lr = dict(base_batch_size=32)
