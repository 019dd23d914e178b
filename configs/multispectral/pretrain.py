# BEiT v2 (paper, table 9) on six bands: backbone and tokenizer see all, and only red, green and blue are jittered.
_base_ = ['../quickstart/pretrain.py', '../_base_/datasets/multispectral.py']
model = dict(
    backbone=dict(in_channels=6),
    tokenizer=dict(
        encoder=dict(in_channels=6),
        target_dims=96,
        init_cfg=dict(checkpoint='work_dirs/multispectral/tokenizer/epoch_4.pth'),
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
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **files))
test_dataloader = dict(dataset=dict(pipeline=val_pipeline, **files))
