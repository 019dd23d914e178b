# BEiT v2 (paper, table 9) on six bands: backbone and tokenizer see all, and only red, green and blue are jittered.
_base_ = [
    '../../../configs/_base_/models/beitv2_vit-b.py',
    '../../../configs/_base_/datasets/imagenet_pretraining.py',
    '../../../configs/_base_/datasets/masked_tokens.py',
    '../../../configs/_base_/schedules/beitv2_300e.py',
    '../../../configs/_base_/default_runtime.py',
    'bands.py',
]
model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, depth=4, num_heads=4),
        img_size=48,
        patch_size=8,
        drop_path_rate=0.0,
        in_channels=6,
        out_indices=(2, 3),
    ),
    tokenizer=dict(
        encoder=dict(arch=dict(embed_dims=128, depth=4, num_heads=4), img_size=48, patch_size=8, in_channels=6),
        quantizer=dict(num_codes=256, code_dim=16),
        decoder=dict(arch=dict(embed_dims=128, depth=1, num_heads=4), img_size=6, in_channels=16),
        target_dims=96,
        init_cfg=dict(checkpoint='work_dirs/multispectral/tokenizer/epoch_3.pth'),
    ),
    data_preprocessor=dict(
        mean=_base_.channel_mean,
        std=_base_.channel_std,
        value_range=_base_.channel_range,
        color_channels=_base_.color_channels,
        to_rgb=False,
    ),
)
mask_and_pack = [
    dict(type='mmbeitv2.BlockMaskGenerator', grid_size=6, num_masked=14, min_block=4),
    dict(type='mmbeitv2.PackMaskedImage'),
]
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    _base_.load_channels,
    dict(type='mmbeitv2.RandomResizedCrop', scale=48, crop_ratio_range=(0.2, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmbeitv2.DrawColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
    *mask_and_pack,
]
val_pipeline = [
    dict(type='mmbeitv2.SeedSample', is_fixed=True),
    _base_.load_channels,
    dict(type='mmbeitv2.FitImage', scale=48, fit='stretch'),
    *mask_and_pack,
]
data_root = 'work_dirs/multispectral/data'
files = dict(data_root=data_root, extensions=('.npy',))
train_dataloader = dict(batch_size=32, num_workers=1, dataset=dict(pipeline=train_pipeline, **files))
test_dataloader = dict(dataset=dict(pipeline=val_pipeline, **files))
test_evaluator = dict(num_codes=256)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, T_max=4, by_epoch=True, begin=1, end=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=5)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=1))
# Scored once, by tools/test.py.
val_dataloader, val_evaluator, val_cfg = None, None, None
auto_scale_lr = dict(base_batch_size=32)
