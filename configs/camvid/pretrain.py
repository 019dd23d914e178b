# BEiT v2 (paper, table 9) small enough for a CPU: the ViT and the codes of tokenizer.py. 26 of 64 patches are masked,
# single ones at random.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/datasets/masked_tokens.py',
    '../_base_/schedules/beitv2_adamw.py',
    '../_base_/iterations_runtime.py',
]
model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, depth=4, num_heads=4),
        img_size=128,
        out_indices=(2, 3),
        layer_scale_init_value=0,
    ),
    tokenizer=dict(
        encoder=dict(arch=dict(embed_dims=128, depth=4, num_heads=4), img_size=128),
        quantizer=dict(num_codes=128),
        decoder=dict(arch=dict(embed_dims=128, depth=1, num_heads=4), img_size=8),
        target_dims=96,
        init_cfg=dict(checkpoint='work_dirs/camvid/tokenizer/iter_200.pth'),
    ),
)
mask_and_pack = [
    dict(type='mmbeitv2.RandomMaskGenerator', grid_size=8, num_masked=26),
    dict(type='mmbeitv2.PackMaskedImage'),
]
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=128, crop_ratio_range=(0.15, 0.75)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmbeitv2.DrawColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
    *mask_and_pack,
]
val_pipeline = [
    dict(type='mmbeitv2.SeedSample', is_fixed=True),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=128),
    *mask_and_pack,
]
data_root = 'data/camvid/images'
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    sampler=dict(type='mmbeitv2.SeededInfiniteSampler'),
    dataset=dict(data_root=data_root, data_prefix='training', pipeline=train_pipeline),
)
test_dataloader = dict(dataset=dict(data_root=data_root, data_prefix='validation', pipeline=val_pipeline))
test_evaluator = dict(num_codes=128)
# The position bias, which tells what patches are near, starts at zero. At the rate of the rest, 150 steps teach the
# model little but how frequent each code is (docs/benchmarks.md).
optim_wrapper = dict(
    optimizer=dict(lr=3e-3, betas=(0.9, 0.98)),
    paramwise_cfg=dict(custom_keys=dict(relative_position_bias_table=dict(lr_mult=10))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=40),
    dict(type='CosineAnnealingLR', eta_min=1e-5, T_max=160, by_epoch=False, begin=40, end=200),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=200)
default_hooks = dict(checkpoint=dict(interval=200))
auto_scale_lr = dict(base_batch_size=8)
