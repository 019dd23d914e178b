# Pretraining on CIFAR-10 (paper, table 9), small enough for a CPU. 14 of 36 patches are masked, single ones at random.
# The inheriting config sets the model.
_base_ = [
    'datasets/imagenet_pretraining.py',
    'datasets/masked_tokens.py',
    'schedules/beitv2_adamw.py',
    'default_runtime.py',
]
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.2, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmbeitv2.DrawColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
    dict(type='mmbeitv2.RandomMaskGenerator', grid_size=6, num_masked=14),
    dict(type='mmbeitv2.PackMaskedImage'),
]
val_pipeline = [
    dict(type='mmbeitv2.SeedSample', is_fixed=True),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
    dict(type='mmbeitv2.BlockMaskGenerator', grid_size=6, num_masked=14, min_block=4),
    dict(type='mmbeitv2.PackMaskedImage'),
]
data_root = 'data/cifar10'
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    sampler=dict(type='mmbeitv2.SeededInfiniteSampler'),
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
test_dataloader = dict(dataset=dict(data_root=data_root, pipeline=val_pipeline))
test_evaluator = dict(num_codes=512)
# The position bias starts at zero; at the rate of the rest, short runs learn little (docs/benchmarks.md, CamVid).
optim_wrapper = dict(
    optimizer=dict(lr=2e-3, betas=(0.9, 0.98)),
    paramwise_cfg=dict(custom_keys=dict(relative_position_bias_table=dict(lr_mult=10))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, T_max=1100, by_epoch=False, begin=100, end=1200),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1200)
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=1200, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=16)
