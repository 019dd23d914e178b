# Paper, appendix F: RandAugment 9/0.5, random erasing 0.25; batch 1024 on 8 GPUs. The inheriting file sets the
# datasets.
bgr_mean = [103.53, 116.28, 123.675]
bgr_std = [57.375, 57.12, 58.395]
data_preprocessor = dict(num_classes=1000, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
load = [dict(type='mmbeitv2.SeedSample'), dict(type='mmbeitv2.LoadImage')]
augment = [
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[round(x) for x in bgr_mean], interpolation='bicubic'),
    ),
    dict(
        type='RandomErasing',
        erase_prob=0.25,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=bgr_mean,
        fill_std=bgr_std,
    ),
    dict(type='PackInputs'),
]
train_pipeline = [*load, dict(type='mmbeitv2.RandomResizedCrop', scale=224), *augment]
test_pipeline = [
    # The loader of this package, by the name that OpenMMLab's inferencers look for.
    dict(type='LoadImageFromFile', _scope_='mmbeitv2'),
    dict(type='mmbeitv2.FitImage', scale=256),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='mmbeitv2.SeededSampler', shuffle=True),
    collate_fn=dict(type='mmbeitv2.stack_samples'),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mmbeitv2.stack_samples'),
    dataset=dict(pipeline=test_pipeline),
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
# What the learning rates are meant for: 8 GPUs with the batch_size above; see --auto-scale-lr of tools/train.py.
auto_scale_lr = dict(base_batch_size=1024)
