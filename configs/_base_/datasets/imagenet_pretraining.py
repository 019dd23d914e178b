# Paper, appendix E: random resized crop (0.2 to 1), flip, color jitter 0.4, 75 of 196 patches masked block-wise;
# batch 2048 on 8 GPUs.
crop_and_jitter = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmbeitv2.DrawColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
]
pack = dict(type='mmbeitv2.PackMaskedImage')
train_pipeline = [
    *crop_and_jitter,
    dict(type='mmbeitv2.BlockMaskGenerator', grid_size=14, num_masked=75, min_block=16),
    pack,
]
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='mmbeitv2.SeededSampler', shuffle=True),
    collate_fn=dict(type='mmbeitv2.stack_samples'),
    dataset=dict(type='mmbeitv2.ImageFolder', data_root='data/imagenet', data_prefix='train', pipeline=train_pipeline),
)
# What the learning rates are meant for: 8 GPUs with the batch_size above; see --auto-scale-lr of tools/train.py.
auto_scale_lr = dict(base_batch_size=2048)
