# Paper, appendix D: random resized crop (0.08 to 1) and flip; batch 512 on 8 GPUs.
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=224, crop_ratio_range=(0.08, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
val_pipeline = [
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='mmbeitv2.SeededSampler', shuffle=True),
    collate_fn=dict(type='mmbeitv2.stack_samples'),
    dataset=dict(type='mmbeitv2.ImageFolder', data_root='data/imagenet', data_prefix='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mmbeitv2.stack_samples'),
    dataset=dict(type='mmbeitv2.ImageFolder', data_root='data/imagenet', data_prefix='val', pipeline=val_pipeline),
)
test_dataloader = val_dataloader
# What the learning rates are meant for: 8 GPUs with the batch_size above; see --auto-scale-lr of tools/train.py.
auto_scale_lr = dict(base_batch_size=512)
