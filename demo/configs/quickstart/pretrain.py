# Paper, table 9, at the size of the sample set: 48x48 images, 14 of 36 patches masked. To learn in so few steps, it
# masks single patches instead of blocks, of crops without color jitter, the ViT is wide and shallow, its initial
# weights suit its width (see tokenizer.py), and the position bias has ten times the learning rate of the rest.
_base_ = [
    '../../../configs/_base_/models/beitv2_vit-b.py',
    '../../../configs/_base_/datasets/imagenet_pretraining.py',
    '../../../configs/_base_/schedules/beitv2_300e.py',
    '../../../configs/_base_/default_runtime.py',
    '../_base_/small_init.py',
]
model = dict(
    backbone=dict(
        arch=dict(embed_dims=192, depth=3, num_heads=6),
        img_size=48,
        patch_size=8,
        out_indices=(0, 2),
        use_abs_pos_emb=True,
        layer_scale_init_value=0,
        init_cfg=_base_.small_init,
    ),
    neck=dict(depth=1, init_cfg=_base_.small_init[0]),
    tokenizer=dict(
        encoder=dict(arch=dict(embed_dims=192, depth=2, num_heads=6), img_size=48, patch_size=8),
        quantizer=dict(num_codes=64),
        decoder=dict(arch=dict(embed_dims=192, depth=1, num_heads=6), img_size=6),
        target_dims=128,
        init_cfg=dict(checkpoint='work_dirs/quickstart/tokenizer/epoch_4.pth'),
    ),
)
mask_and_pack = [
    dict(type='mmbeitv2.RandomMaskGenerator', grid_size=6, num_masked=14),
    dict(type='mmbeitv2.PackMaskedImage'),
]
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.7, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    *mask_and_pack,
]
val_pipeline = [
    dict(type='mmbeitv2.SeedSample', is_fixed=True),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
    *mask_and_pack,
]
data_root = 'work_dirs/quickstart/sample/imagenet'
train_dataloader = dict(batch_size=16, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline))
# Scored once, by tools/test.py.
val_dataloader, val_evaluator, val_cfg = None, None, None
test_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mmbeitv2.stack_samples'),
    dataset=dict(type='mmbeitv2.ImageFolder', data_root=data_root, data_prefix='val', pipeline=val_pipeline),
)
test_evaluator = dict(type='mmbeitv2.MaskedTokenAccuracy')
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys=dict(relative_position_bias_table=dict(lr_mult=10)))
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, begin=0, end=0.7, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, T_max=5.3, by_epoch=True, begin=0.7, end=6, convert_to_iter_based=True
    ),
]
train_cfg = dict(max_epochs=6)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=16)
