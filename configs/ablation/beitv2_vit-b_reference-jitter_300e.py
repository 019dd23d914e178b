# The reference's order: colors are jittered on the whole image, before the crop, by the workers.
_base_ = [
    '../_base_/models/beitv2_vit-b.py',
    '../_base_/datasets/imagenet_pretraining.py',
    '../_base_/schedules/beitv2_300e.py',
    '../_base_/default_runtime.py',
]
train_pipeline = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0),
    dict(type='mmbeitv2.RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmbeitv2.BlockMaskGenerator', grid_size=14, num_masked=75, min_block=16),
    dict(type='mmbeitv2.PackMaskedImage'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
